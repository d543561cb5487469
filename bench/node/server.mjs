// The peers: `node server.mjs mercurius|yoga|apollo DATABASE SECRET` serves Patchbay's own table as Patchbay does: a token is
// checked, rows are of the token's workspace, a sent message is committed with synchronous=FULL. It prints its address.
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import Database from 'better-sqlite3';

const [kind, path, secret] = process.argv.slice(2);
const db = new Database(path);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');

const COLUMNS = `id, channel_type AS channelType, status, recipient AS "to", subject, body,
  client_reference AS clientReference, external_id AS externalId, segments, created_at AS createdAt`;
const list = db.prepare(`SELECT ${COLUMNS} FROM message WHERE workspace_id = ? ORDER BY id DESC LIMIT ?`);
const one = db.prepare(`SELECT ${COLUMNS} FROM message WHERE workspace_id = ? AND id = ?`);
const insert = db.prepare(`INSERT INTO message
  (id, workspace_id, channel_type, flow, priority, status, recipient, body, connector_id, media, is_pinned, fallbacks, route,
   created_at, updated_at)
  VALUES (?, ?, 'SMS', 'STANDARD', 'NORMAL', 'QUEUED', ?, ?, ?, '[]', 1, '[]', '[]', ?, ?)`);

const typeDefs = `
  type Message { id: ID! channelType: String! status: String! to: String! subject: String body: String
    clientReference: String externalId: String segments: Int createdAt: String! }
  type MessageConnection { nodes: [Message!]! }
  type UserError { code: String! message: String! }
  type MessageSendPayload { message: Message userErrors: [UserError!]! }
  type DeliveryUpdated { status: String! message: Message! }
  input MessageSendInput { to: String! connectorId: ID body: String }
  type Query { messages(first: Int): MessageConnection message(id: ID!): Message }
  type Mutation { messageSend(input: MessageSendInput!): MessageSendPayload }
  type Subscription { deliveryUpdated: DeliveryUpdated! }`;

const time = (text) => `${text.replace(' ', 'T')}Z`;
const shown = (row) => row && { ...row, createdAt: time(row.createdAt) };

// Those who wait for events: an async iterator each, as every Node server's own pub/sub makes them.
const waiting = new Set();
function publish(event) {
  for (const push of waiting) push(event);
}
function follow() {
  const queue = [];
  let wake = null;
  const push = (event) => {
    queue.push(event);
    if (wake) { wake(); wake = null; }
  };
  waiting.add(push);
  return {
    async next() {
      while (queue.length === 0) await new Promise((resolve) => { wake = resolve; });
      return { value: { deliveryUpdated: queue.shift() }, done: false };
    },
    async return() {
      waiting.delete(push);
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() { return this; },
  };
}

const resolvers = {
  Query: {
    messages: (_root, { first }, { workspace }) => ({ nodes: list.all(workspace, first ?? 10).map(shown) }),
    message: (_root, { id }, { workspace }) => shown(one.get(workspace, id)),
  },
  Mutation: {
    messageSend: (_root, { input }, { workspace }) => {
      const id = `msg_${randomUUID()}`;
      const at = new Date().toISOString().replace('T', ' ').replace('Z', '000');
      insert.run(id, workspace, input.to, input.body, input.connectorId, at, at);
      const message = shown(one.get(workspace, id));
      if (waiting.size) publish({ status: 'QUEUED', message });
      return { message, userErrors: [] };
    },
  },
  Subscription: { deliveryUpdated: { subscribe: () => follow() } },
};

function claims(header) {
  const [head, body, signature] = (header ?? '').replace(/^Bearer /, '').split('.');
  const expected = createHmac('sha256', secret).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature ?? '', 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('not admitted');
  const read = JSON.parse(Buffer.from(body, 'base64url'));
  if (read.exp * 1000 < Date.now() || read.aud !== 'patchbay' || read.iss !== 'patchbay') throw new Error('not admitted');
  return { workspace: read.workspace };
}

const servers = {
  async mercurius() {
    const { default: fastify } = await import('fastify');
    const { default: mercurius } = await import('mercurius');
    const app = fastify();
    app.register(mercurius, {
      schema: typeDefs,
      resolvers,
      jit: 1,
      context: (request) => claims(request.headers.authorization),
      subscription: { onConnect: ({ payload }) => claims(payload.authorization), context: () => ({}), fullWsTransport: true },
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server.address().port;
  },
  async yoga() {
    const { createSchema, createYoga } = await import('graphql-yoga');
    const schema = createSchema({ typeDefs, resolvers });
    const yoga = createYoga({
      schema,
      logging: false,
      maskedErrors: false,
      context: ({ request }) => claims(request.headers.get('authorization')),
    });
    const server = createServer(yoga);
    await sockets(server, schema);
    return listening(server);
  },
  async apollo() {
    const { ApolloServer } = await import('@apollo/server');
    const { startStandaloneServer } = await import('@apollo/server/standalone');
    const server = new ApolloServer({ typeDefs, resolvers });
    const { url } = await startStandaloneServer(server, {
      listen: { port: 0, host: '127.0.0.1' },
      context: async ({ req }) => claims(req.headers.authorization),
    });
    return new URL(url).port;
  },
};

async function sockets(server, schema) {
  const { WebSocketServer } = await import('ws');
  const { useServer } = await import('graphql-ws/use/ws');
  const wss = new WebSocketServer({ server, path: '/graphql' });
  useServer({ schema, onConnect: (ctx) => Boolean(claims(ctx.connectionParams.authorization)) }, wss);
}

function listening(server) {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

const port = await servers[kind]();
console.log(`${kind} listens on http://127.0.0.1:${port}`);

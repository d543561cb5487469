import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { MUTATION, QUERY, SUBSCRIPTION, connector, headers, say, socketUrl, start, wait } from "./scene.js";

const client = createClient({
  url: socketUrl,
  webSocketImpl: WebSocket,
  connectionParams: () => headers,
  retryWait: wait,
  on: { closed: (event) => say("closed", event.code) },
});

async function once(query, variables) {
  for await (const { data } of client.iterate({ query, variables })) return data;
}

say("query", await once(QUERY));
say("mutation", await once(MUTATION, connector));

// The client subscribes again with the same object after every cut.
const variables = { after: start };
for await (const { data } of client.iterate({ query: SUBSCRIPTION, variables })) {
  variables.after = data.events.cursor;
  say("event", data.events.id);
}

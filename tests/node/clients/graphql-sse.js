import { createClient } from "graphql-sse";
import { MUTATION, QUERY, SUBSCRIPTION, connector, headers, say, start, url, wait } from "./scene.js";

const client = createClient({ url, headers: () => headers, retry: wait });

async function once(query, variables) {
  for await (const { data } of client.iterate({ query, variables })) return data;
}

say("query", await once(QUERY));
say("mutation", await once(MUTATION, connector));

// The client subscribes again with the same object after every cut.
const variables = { after: start };
const on = { connecting: (again) => again && say("closed", "again") };
for await (const { data } of client.iterate({ query: SUBSCRIPTION, variables }, on)) {
  variables.after = data.events.cursor;
  say("event", data.events.id);
}

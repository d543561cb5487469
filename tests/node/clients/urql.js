import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { MUTATION, QUERY, SUBSCRIPTION, connector, headers, say, socketUrl, start, url, wait, way } from "./scene.js";

function overSockets() {
  const connectionParams = () => headers;
  const sockets = createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });
  return subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: sockets.subscribe({ query, variables }, sink) }),
    }),
  });
}

const exchanges = way === "sockets" ? [overSockets(), fetchExchange] : [fetchExchange];
const client = new Client({ url, exchanges, fetchOptions: { headers }, fetchSubscriptions: way === "events" });

say("query", (await client.query(QUERY, {}).toPromise()).data);
say("mutation", (await client.mutation(MUTATION, connector).toPromise()).data);

let after = start;
for (;;) {
  await new Promise((ended) => {
    const { unsubscribe } = client.subscription(SUBSCRIPTION, { after }).subscribe(({ data, error, hasNext }) => {
      // Where a stream ends, the last answer is told once more.
      if (data && hasNext) {
        after = data.events.cursor;
        say("event", data.events.id);
      }
      if (error || !hasNext) {
        setTimeout(() => unsubscribe());
        ended();
      }
    });
  });
  say("closed", "again");
  await wait();
}

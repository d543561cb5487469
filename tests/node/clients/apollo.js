import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { MUTATION, QUERY, SUBSCRIPTION, connector, headers, say, socketUrl, start, url, wait, way } from "./scene.js";

function overSockets() {
  const connectionParams = () => headers;
  return new GraphQLWsLink(createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 }));
}

const http = new HttpLink({ uri: url, headers });
const isSubscription = ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION;
const link = way === "sockets" ? ApolloLink.split(isSubscription, overSockets(), http) : http;
const client = new ApolloClient({ link, cache: new InMemoryCache() });

say("query", (await client.query({ query: gql(QUERY) })).data);
say("mutation", (await client.mutate({ mutation: gql(MUTATION), variables: connector })).data);

let after = start;
for (;;) {
  await new Promise((ended) => {
    client.subscribe({ query: gql(SUBSCRIPTION), variables: { after } }).subscribe({
      next({ data, error }) {
        if (error) return ended();
        after = data.events.cursor;
        say("event", data.events.id);
      },
      error: ended,
      complete: ended,
    });
  });
  say("closed", "again");
  await wait();
}

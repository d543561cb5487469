// What every client does here: a query, a mutation, and a subscription that goes on where it was cut.
// node <client>.js <url> <token> <cursor>: prints one JSON line for each answer and each event, until it is ended.
import { setTimeout as sleep } from "node:timers/promises";

export const [url, token, start, way] = process.argv.slice(2);
export const headers = { authorization: `Bearer ${token}` };
export const socketUrl = url.replace("http", "ws");

export const QUERY = "query Who { viewer { subject } }";
export const MUTATION = `mutation PlugIn($name: String!) {
  connectorCreate(input: { name: $name, config: { simulator: { latencyMs: 1 } } }) {
    connector { id name }
    userErrors { code }
  }
}`;
export const SUBSCRIPTION = "subscription Watch($after: String) { events(after: $after) { id cursor type } }";
export const connector = { name: "Of a client" };

export const wait = () => sleep(100);

export function say(kind, value) {
  console.log(JSON.stringify({ [kind]: value }));
}

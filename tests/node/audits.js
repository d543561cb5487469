// node audit.js <url> <authorization>: prints one JSON line per audit.
import { serverAudits } from "graphql-http";

const [url, authorization] = process.argv.slice(2);

const fetchFn = (input, init = {}) => fetch(input, { ...init, headers: { ...init.headers, authorization } });

for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn();
  console.log(JSON.stringify({ id: audit.id, name: audit.name, status: result.status, reason: result.reason ?? null }));
}

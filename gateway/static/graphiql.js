// GraphiQL with a token: kept by this browser tab alone, proven to the server before it is used.
const WHO = "{ viewer { subject expiresAt scopes workspace { name } } }";
const LONGEST_TIMER = 2 ** 31 - 1;
const FORBIDDEN = 4403;
const endpoint = new URL("/graphql", location.href);
const element = (id) => document.getElementById(id);
const tabs = JSON.parse(element("graphiql").dataset.tabs);
const root = ReactDOM.createRoot(element("graphiql"));
let socket;
let expiry;

async function post(token, operation) {
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(operation),
  });
  return response.json();
}

async function signIn(token) {
  say("Asking who this is …");
  try {
    const { data, errors } = await post(token, { query: WHO });
    if (!data?.viewer) return signOut(`Refused: ${errors[0].message}`);
    sessionStorage.setItem("patchbay:token", token);
    greet(data.viewer);
    work(token);
  } catch {
    signOut("The server does not answer. Is it running?");
  }
}

function signOut(reason) {
  sessionStorage.removeItem("patchbay:token");
  clearTimeout(expiry);
  show(false);
  say(reason, true);
  idle();
  element("token").focus();
  element("token").select();
}

function greet({ subject, workspace, scopes, expiresAt }) {
  const name = document.createElement("b");
  name.textContent = subject;
  const rights = scopes.includes("*") ? "every scope" : scopes.join(" ");
  element("identity").replaceChildren(name, ` in ${workspace.name} · ${rights}${until(expiresAt)}`);
  element("token").value = "";
  show(true);
  say("");
}

function until(expiresAt) {
  clearTimeout(expiry);
  if (!expiresAt) return "";
  const end = new Date(expiresAt);
  const left = end - Date.now();
  if (left < LONGEST_TIMER) expiry = setTimeout(signOut, left, "The token has expired. ./patchbay token prints another.");
  const day = left < 20 * 3600_000 ? {} : { dateStyle: "medium" };
  return ` · until ${end.toLocaleString(undefined, { ...day, timeStyle: "short" })}`;
}

function show(known) {
  element("viewer").hidden = !known;
  element("sign-in").hidden = known;
}

function say(text, bad = false) {
  element("notice").textContent = text;
  element("notice").classList.toggle("bad", bad);
}

function idle() {
  socket?.dispose();
  socket = undefined;
  draw(async () => ({ errors: [{ message: "Paste a token into the box above first." }] }), null);
}

function work(token) {
  socket?.dispose();
  socket = graphqlWs.createClient({
    url: Object.assign(new URL(endpoint), { protocol: endpoint.protocol.replace("http", "ws") }).href,
    connectionParams: () => ({ authorization: `Bearer ${token}` }),
    shouldRetry: (event) => event instanceof CloseEvent && event.code !== FORBIDDEN,
  });
  const fetch = GraphiQL.createFetcher({ url: endpoint.href, fetch: answered(token), wsClient: socket, enableIncrementalDelivery: false });
  draw(fetch);
}

// What GraphiQL asks goes out with the token; what comes back is looked at on its way.
function answered(token) {
  return async (_url, { body }) => {
    const answer = await post(token, JSON.parse(body));
    if (answer.errors?.[0]?.extensions?.code === "UNAUTHENTICATED") signOut(`Refused: ${answer.errors[0].message}`);
    remember(answer.data);
    return { json: async () => answer };
  };
}

function draw(fetcher, schema) {
  root.render(
    React.createElement(GraphiQL, {
      fetcher,
      schema,
      defaultTabs: tabs,
      storage: sessionStorage,
      onTabChange: () => setTimeout(fillIn),
      defaultEditorToolsVisibility: "variables",
      isHeadersEditorEnabled: false,
      shouldPersistHeaders: false,
    }),
  );
}

// The quick start's later steps take ids that its earlier ones answered: they go where the variables say con_… and msg_….
function remember(data) {
  const created = data?.connectorCreate;
  const connector = created?.connector?.id ?? created?.userErrors.find((error) => error.conflictingId)?.conflictingId;
  if (connector) sessionStorage.setItem("patchbay:con_…", connector);
  if (data?.messageSend?.message) sessionStorage.setItem("patchbay:msg_…", data.messageSend.message.id);
}

function fillIn() {
  const editor = document.querySelector(".graphiql-editor-tool .CodeMirror")?.CodeMirror;
  const text = editor?.getValue() ?? "";
  const gaps = sessionStorage.getItem(`patchbay:${text}`) ?? text; // filled in before: perhaps there is a newer id
  const filled = gaps.replace(/(con|msg)_…/g, (gap) => sessionStorage.getItem(`patchbay:${gap}`) ?? gap);
  if (filled === text) return;
  sessionStorage.setItem(`patchbay:${filled}`, gaps);
  editor.setValue(filled);
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(element("token").value.replace(/^\s*Bearer\s+/i, "").replace(/\s+/g, ""));
});
element("forget").addEventListener("click", () => signOut(""));

const kept = sessionStorage.getItem("patchbay:token");
if (kept) signIn(kept);
else signOut("");

// An identity provider for tests: the certified `oidc-provider`, with a form that asks for a name only.
// Arguments: the folder of the package, and the redirect URI. Prints its issuer.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [folder, back] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/lib/index.js`));

const groups = { olga: ["everybody", "platform"], rita: ["on-call"], victor: ["everybody"], stranger: ["sales"] };
let visits = 0;
const server = createServer().listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "watch", client_secret: "a secret: with signs & such", redirect_uris: [back] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/as/${interaction.uid}` },
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        email: `${id}@example.org`,
        email_verified: id !== "unsure",
        groups: id === "leaver" && visits > 1 ? [] : groups[id] ?? ["everybody"],
      }),
    }),
  });
  const pages = provider.callback();
  server.on("request", async (request, answer) => {
    if (!request.url.startsWith("/as/")) return pages(request, answer);
    if (request.method === "GET") {
      answer.setHeader("content-type", "text/html");
      const form = `<form method="post"><label>Name <input name="login"></label><button>Go on</button></form>`;
      return answer.end(`<title>Provider</title>${form}`);
    }
    let body = "";
    for await (const piece of request) body += piece;
    const accountId = new URLSearchParams(body).get("login");
    if (accountId === "") {
      return provider.interactionFinished(request, answer, { error: "access_denied" });
    }
    visits += accountId === "leaver";
    const { params } = await provider.interactionDetails(request, answer);
    const grant = new provider.Grant({ accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const consent = { grantId: await grant.save() };
    await provider.interactionFinished(request, answer, { login: { accountId }, consent });
  });
  console.log(issuer);
});

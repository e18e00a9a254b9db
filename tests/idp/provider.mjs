// An identity provider for tests: oidc-provider with one client, on a free port of this machine.
//
// Arguments: the redirect URI of the client, the address after a logout, and the secret of the client. Prints its issuer. Everybody may log in; the name decides the
// groups: `stranger` has none.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [redirectUri, afterLogout, secret] = process.argv.slice(2);

const server = createServer();
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "spandrel",
      client_secret: secret,
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [afterLogout],
    },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  scopes: ["openid", "profile", "groups"],
  // The ID token holds the claims of its scopes, as those of most providers do.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["only for tests"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: id === "stranger" ? [] : ["dev", "other"] }),
  }),
});
provider.on("server_error", (_, error) => console.error(error));
server.on("request", provider.callback());
console.log(issuer);

// Ends with the test, which holds the other end.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

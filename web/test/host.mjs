// A host as in the contracts and like the original's services: sessions on 8088, users on 8089. It is not one of our
// platforms.
import { createServer } from "node:http";
import { once } from "node:events";

const CORS = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*" };

/** Starts it at its own address, with `sessions`. Users that connect go to the emptiest of `servers`. */
export async function host(address, { sessions = [], servers = ["10.0.0.1"] } = {}) {
  const state = { sessions, servers, requests: [] };
  const listeners = [];
  for (const [port, answer] of [[8088, told], [8089, users]]) {
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (part) => (body += part));
      request.on("end", () => {
        const path = request.url;
        if (request.method !== "OPTIONS") state.requests.push(`${request.method} ${port} ${path}`);
        const [status, json] = request.method === "OPTIONS" ? [204, null] : answer(state, request.method, path, body);
        response.writeHead(status, { ...CORS, "Content-Type": "application/json" });
        response.end(json === null ? "" : JSON.stringify(json));
      });
    });
    server.listen(port, address);
    await once(server, "listening");
    listeners.push(server);
  }
  return { state, end: () => listeners.forEach((server) => (server.close(), server.closeAllConnections())) };
}

function told(state, method, path) {
  return method === "GET" && path === "/ws-session/all" ? [200, state.sessions] : [404, null];
}

/** Only 202, as in the contract; it does not list its users. */
function users(state, method, path, body) {
  const what = /^\/route\/kickstart\/ws\/batch\/(connect|disconnect)$/.exec(path)?.[1];
  if (method !== "POST" || !what) return [404, null];
  const { userIds } = JSON.parse(body);
  for (const userId of userIds) {
    if (what === "disconnect") {
      state.sessions = state.sessions.filter((session) => session?.userId !== userId);
      continue;
    }
    const count = (server) => state.sessions.filter((session) => session?.hostId === server).length;
    const hostId = state.servers.reduce((best, server) => (count(server) < count(best) ? server : best));
    state.sessions.push({ userId, sessionId: `session-${userId}`, hostId });
  }
  return [202, null];
}

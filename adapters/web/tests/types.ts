// Compiled by `.ci/web`, not run: `js/index.d.ts` says what this needs.
import { connect, Client, ConnectionError, RemoteError, type DisconnectReason, type Session } from "./index.js";

const client: Client = await connect("ws://x/", { session: "local", answer: ({ name }) => ({ name }) });
const a: string | Uint8Array = await client.request("a", "b");
const b: { x: number } = await client.request<{ x: number }>("a", { y: 1 }, { as: "json" });
const c: string = await client.request("a", undefined, { as: "text", timeout: 5 });
client.addEventListener("session", ({ how, session }) => { const s: Session | null = session; console.log(how, s); });
client.addEventListener("signal", (event) => console.log(event.name, event.payload));
for await (const { name, payload } of client.signals({ name: "x" })) console.log(name, payload);
try { client.signal("a", new Uint8Array()); } catch (error) { if (error instanceof RemoteError) console.log(error.code); }
client.addEventListener("disconnect", ({ reason }) => { const r: DisconnectReason = reason; console.log(r); });
try { await client.connect(); } catch (error) { if (error instanceof ConnectionError && error.code === "dial-failed") console.log(error); }
{ using other = await connect("/", { answer: async (_, { signal }) => { signal.throwIfAborted(); } }); console.log(other.status); }
// @ts-expect-error: there is no such encoding.
client.signal("a", "b", { encoding: "utf8" });
// @ts-expect-error: a name is a string.
client.request(7);
console.log(a, b, c);

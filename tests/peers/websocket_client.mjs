// Talks to websocket_server.py, at the address that it is given, by the WebSocket that Node has itself.

const socket = new WebSocket(`ws://${process.argv[2]}/ws`, ["chat"]);
socket.binaryType = "arraybuffer";
const waiting = [];
const came = [];
const deliver = (what) => (waiting.length > 0 ? waiting.shift()(what) : came.push(what));
socket.onmessage = (event) => deliver(event.data);
socket.onerror = (event) => { throw event.error ?? new Error("the connection failed"); };
const next = () => (came.length > 0 ? Promise.resolve(came.shift()) : new Promise((resolve) => waiting.push(resolve)));
const check = (is, what) => { if (!is) throw new Error(what); };

await new Promise((resolve) => { socket.onopen = resolve; });
check(socket.protocol === "chat", socket.protocol);
const closed = new Promise((resolve) => { socket.onclose = resolve; });
for (const text of ["hello", "ü".repeat(1 << 19), ""]) {
    socket.send(text);
    check((await next()) === text, `a text of ${text.length}`);
}
const bytes = new Uint8Array(1 << 20).map((_, at) => at * 31);
socket.send(bytes);
check(Buffer.from(await next()).equals(Buffer.from(bytes)), "1 MiB");
socket.send("fragments");
check((await next()).length === 100_002, "a message in three pieces");
socket.send("ping");
check((await next()) === "it is there", "an answer to a ping");
socket.send("close");
const end = await closed;
check(end.wasClean && end.code === 4001 && end.reason === "enough", `${end.code} ${end.reason}`);
console.log("fine");

//! The whole proxy, driven as its users drive it: real components, scripted upstreams, bytes on sockets.

// What the tests stand on: the proxy in this process, upstreams that say what they are told to, clients of bare bytes.
mod harness;

// The use that everything is made for: keys, quotas, validation, and an upstream that speaks only XML.
mod main_job;
// Quotas to the second, by a clock of the test's own.
mod quota;
// Plugins that misbehave: each costs one request, never the proxy.
mod guests;
// Large bodies that nobody reads on their way.
mod pipes;
// Plugins that work on bodies piece by piece.
mod bodies;
// A secret of one request, looked for in ten thousand others.
mod isolation;
// What a component is, before anybody uses it.
mod inspect;
// What was published: the contract, and components that were made for it.
mod published;
// Files of cases, which a plugin has to pass.
mod cases;
// The examples in four languages, each built with its own tool.
mod languages;
// Plugins that ask servers of their own.
mod asking;
// Components of the standard's HTTP worlds, which know nothing of us.
mod wasi_http;
// Capabilities that every plugin has.
mod capabilities;
// Components that come, change, break and go while requests run.
mod hot_loading;
// New versions that get a part of the requests first, and are promoted or rolled back.
mod rollouts;
// Versions that only watch, and are compared.
mod shadow;
// Everything that a plugin can do wrong, everywhere.
mod misbehaviour;
// What plugins cost, and those that cost too much.
mod costs;
// Components that have to be signed.
mod signatures;
// Components that are pulled from registries.
mod registry;
// Chains whose order makes no sense.
mod chains;
// What the documentation shows, page by page.
mod documentation;
// Configurations that are loaded again.
mod configuration;
// Both of these, fifty times, while clients never stop asking.
mod under_load;
// Several servers behind one name: balancing, retries, health.
mod upstreams;
// What plugins saw, kept and run again.
mod recording;
// Other people's servers and clients.
mod peers;
// The end of a server.
mod drain;
// Certificates, on both sides.
mod tls;
// Who may connect, and who a client is: certificates that clients show, the PROXY protocol, Unix sockets.
mod listeners;
// Many requests on one connection.
mod http2;
// Frames of HTTP/2 that make work and carry nothing, and heads that HTTP/1.1 could not have.
mod frames;
// Connections that go on with another protocol.
mod upgrades;
// Upgrades to upstreams that speak HTTP/2.
mod tunnels;
// Whoever does not read stops whoever sends.
mod backpressure;
// What comes before a response: early hints, and bodies that have to be asked for.
mod interim;
// Server-sent events.
mod events;
// Upstreams that speak HTTP/2, and gRPC from end to end.
mod backends;
// Bytes that mean one thing to us and another to the server behind us.
mod framing;
// The same bytes to nginx and to hyper, and where they see other requests in them.
mod readers;
// A corpus of hostile bytes, each with its answer.
mod hostile;
// What must never be written anywhere.
mod secrets;

//! What is allowed but probably not meant, and what only shows when several parts are seen together.

use super::reader::{At, Reader};
use super::{Address, Admin, Listener, Network, OnFailure, PluginSpec, Route, Upstream};

/// No two listeners share an address, the admin listener included.
pub(crate) fn addresses(listeners: &[At<Listener>], admin: Option<&At<Admin>>, reader: &mut Reader<'_>) {
    let mut listeners: Vec<&At<Listener>> = listeners.iter().collect();
    listeners.sort_by_key(|at| at.span.start);
    for (index, at) in listeners.iter().enumerate() {
        // Port 0 takes another free port each time.
        let free = matches!(at.value.address, Address::Tcp(address) if address.port() == 0);
        let same = |other: &&&At<Listener>| other.value.address == at.value.address && !free;
        if let Some(other) = listeners[..index].iter().find(same) {
            let note = reader.source().place(&other.span);
            let message = format!("the listeners {:?} and {:?} have one address", other.value.name, at.value.name);
            let problem = reader.problem(at, message);
            reader.report(problem.note("the other listener is here", note));
        }
    }
    let Some(admin) = admin else { return };
    let address = admin.value.address;
    let same = |at: &&&At<Listener>| at.value.address == Address::Tcp(address) && address.port() != 0;
    if let Some(other) = listeners.iter().find(same) {
        let note = reader.source().place(&other.span);
        let problem = reader.problem(admin, format!("the listener {:?} has this address", other.value.name));
        reader.report(problem.note("it is here", note).help("the admin listener has an address of its own"));
    }
}

/// A network that everybody is in.
pub(crate) fn trust(proxies: &[At<Network>], reader: &mut Reader<'_>) {
    for proxy in proxies.iter().filter(|proxy| proxy.value.prefix == 0) {
        let message = "every client is believed what it says about its address";
        let problem = reader.warning(proxy, message);
        reader.report(problem.help("write the networks of your own proxies"));
    }
}

/// A network that everybody is in.
pub(crate) fn senders(senders: &[At<Network>], reader: &mut Reader<'_>) {
    for sender in senders.iter().filter(|sender| sender.value.prefix == 0) {
        let message = "every client chooses its own address, by a header of the PROXY protocol";
        let problem = reader.warning(sender, message);
        reader.report(problem.help("write the networks of your own proxies"));
    }
}

/// Upstreams and plugins that no route uses.
pub(crate) fn unused(
    routes: &[Route],
    upstreams: &[At<Upstream>],
    plugins: &[At<PluginSpec>],
    reader: &mut Reader<'_>,
) {
    // With a route missing, everything that only this one uses would seem to be unused.
    if reader.has_errors() {
        return;
    }
    for upstream in upstreams {
        if !routes.iter().any(|route| route.upstreams().any(|name| *name == upstream.value.name)) {
            reader.report(reader.warning(upstream, format!("no route uses the upstream {:?}", upstream.value.name)));
        }
    }
    for plugin in plugins {
        if !routes.iter().any(|route| route.plugins().any(|name| *name == plugin.value.name)) {
            reader.report(reader.warning(plugin, format!("no route uses the plugin {:?}", plugin.value.name)));
        }
    }
}

/// Settings that give protection away.
pub(crate) fn risks(routes: &[Route], listeners: &[At<Listener>], plugins: &[At<PluginSpec>], reader: &mut Reader<'_>) {
    let keys = |plugin: &&At<PluginSpec>| plugin.value.component == "api-key";
    for plugin in plugins.iter().filter(keys).filter(|plugin| plugin.value.on_failure == OnFailure::Open) {
        let message = format!("when the plugin {:?} fails, requests pass without a key", plugin.value.name);
        let problem = reader.warning(plugin, message);
        reader.report(problem.help("leave on-failure out, or write on-failure = \"closed\""));
    }
    let used = |plugin: &At<PluginSpec>| routes.iter().any(|route| route.chain.contains(&plugin.value.name));
    if !plugins.iter().filter(keys).any(used) {
        return;
    }
    for listener in listeners {
        let public = !listener.value.address.is_local();
        // Behind a proxy of ours, TLS may well end there.
        if public && listener.value.tls.is_empty() && listener.value.trusted_proxies.is_empty() {
            let message = format!("keys cross the network in the clear to the listener {:?}", listener.value.name);
            let help = "add tls; or, where a proxy before it has TLS, name that proxy in trusted-proxies";
            let problem = reader.warning(listener, message);
            reader.report(problem.help(help));
        }
    }
}

//! Listeners: those for clients, and the one for operators.

use std::num::NonZeroU32;

use super::bounds::{DAY, SECOND, count, size, time};
use super::pem::pem;
use super::reader::{At, Entry, OneOrMore, Reader};
use super::{Admin, Certificate, Listener, ListenerLimits, Underscores, file, lint};

/// A listener, or none after its problems were reported.
pub(crate) fn listener(name: &str, at: At<file::Listener>, reader: &mut Reader<'_>) -> Option<Listener> {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let address = reader.require(written.address, "address", &here);
    let secure = !written.tls.is_absent();
    if let Entry::Is(list) = &written.tls
        && list.value.0.is_empty()
    {
        let problem = reader.problem(list, "there is no certificate in the list");
        reader.report(problem.help("leave \"tls\" out for a listener without TLS"));
    }
    let certificates = written.tls.or(OneOrMore(Vec::new())).0;
    let written_certificates = certificates.len();
    let tls: Vec<Certificate> =
        certificates.into_iter().filter_map(|certificate| self::certificate(certificate, reader)).collect();
    let proxies = written.trusted_proxies.or(Vec::new());
    lint::trust(&proxies, reader);
    let limits = match written.limits {
        Entry::Is(at) => listener_limits(Some(at.value), reader),
        Entry::Absent | Entry::Wrong => listener_limits(None, reader),
    };
    if tls.len() < written_certificates || (secure && tls.is_empty()) {
        // Reported: without it, a TLS listener would seem to be one without.
        return None;
    }
    Some(Listener {
        name: name.to_owned(),
        address: address?.value,
        tls,
        trusted_proxies: proxies.into_iter().map(|at| at.value).collect(),
        underscores: written.underscores.or(Underscores::Drop),
        limits,
    })
}

fn listener_limits(written: Option<file::ListenerLimits>, reader: &mut Reader<'_>) -> ListenerLimits {
    let written = written.unwrap_or(file::ListenerLimits {
        connections: Entry::Absent,
        head_size: Entry::Absent,
        head_fields: Entry::Absent,
        head_time: Entry::Absent,
        handshake_time: Entry::Absent,
        body_idle: Entry::Absent,
        body_rate: Entry::Absent,
        keep_alive: Entry::Absent,
    });
    ListenerLimits {
        connections: count(reader, written.connections, 10_000, 1..=10_000_000).non_zero(),
        head_size: size(reader, written.head_size, 64 << 10, 1 << 10..=1 << 20),
        head_fields: count(reader, written.head_fields, 100, 1..=1000).0,
        head_time: time(reader, written.head_time, 10 * SECOND, DAY),
        handshake_time: time(reader, written.handshake_time, 5 * SECOND, DAY),
        body_idle: time(reader, written.body_idle, 30 * SECOND, DAY),
        body_rate: NonZeroU32::new(size(reader, written.body_rate, 500, 0..=1 << 20) as u32),
        keep_alive: time(reader, written.keep_alive, 60 * SECOND, DAY),
    }
}

fn certificate(at: At<file::Certificate>, reader: &mut Reader<'_>) -> Option<Certificate> {
    let here = At { value: (), span: at.span, path: at.path };
    let certificate = reader.require(at.value.certificate, "certificate", &here);
    let certificate = certificate.and_then(|path| pem(path, "CERTIFICATE", "a certificate", reader));
    let key = reader.require(at.value.key, "key", &here);
    let key = key.and_then(|path| pem(path, "PRIVATE KEY", "a private key", reader));
    Some(Certificate { certificate: certificate?, key: key? })
}

/// The admin listener, at the place of its address.
pub(crate) fn admin(entry: Entry<file::Admin>, reader: &mut Reader<'_>) -> Option<At<Admin>> {
    let Entry::Is(at) = entry else { return None };
    let default = std::net::SocketAddr::from(([127, 0, 0, 1], 9901));
    let (span, path) =
        at.value.address.get().map_or((at.span, at.path), |address| (address.span.clone(), address.path.clone()));
    let admin = At { value: Admin { address: at.value.address.or(default) }, span, path };
    if !admin.value.address.ip().is_loopback() {
        let problem = reader.warning(&admin, "the admin listener can be reached from other machines");
        reader.report(problem.help("bind it to 127.0.0.1, and let those who may see it come through a tunnel"));
    }
    Some(admin)
}

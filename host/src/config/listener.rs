//! Listeners: those for clients, and the one for operators.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use super::bounds::{DAY, SECOND, count, size, time};
use super::pem::pem;
use super::reader::{At, Entry, OneOrMore, Reader};
use super::value::{FileMode, FilePath, ShowCertificate};
use super::{Address, Admin, Certificate, ClientCertificates, Listener, ListenerLimits, Underscores, file, lint};

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
    let senders = written.proxy_protocol.or(Vec::new());
    lint::senders(&senders, reader);
    let address = match address?.value {
        Address::Unix(path) => Address::Unix(reader.locate(&path.to_string_lossy())),
        address @ Address::Tcp(_) => {
            if let Some(mode) = written.mode.get() {
                reader.report(reader.warning(mode, "it has no effect: only a Unix socket is a file"));
            }
            address
        }
    };
    Some(Listener {
        name: name.to_owned(),
        address,
        mode: written.mode.or(FileMode(0o660)).0,
        proxy_protocol: senders.into_iter().map(|at| at.value).collect(),
        tls,
        trusted_proxies: proxies.into_iter().map(|at| at.value).collect(),
        underscores: written.underscores.or(Underscores::Drop),
        limits,
    })
}

fn listener_limits(written: Option<file::ListenerLimits>, reader: &mut Reader<'_>) -> ListenerLimits {
    let written = written.unwrap_or(file::ListenerLimits {
        connections: Entry::Absent,
        connections_per_client: Entry::Absent,
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
        connections_per_client: NonZeroUsize::new(count(reader, written.connections_per_client, 256, 0..=10_000_000).0),
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
    let clients = match at.value.clients {
        Entry::Is(clients) => Some(client_certificates(clients, reader)?),
        Entry::Absent => None,
        // Reported: without it, everyone would be let in.
        Entry::Wrong => return None,
    };
    Some(Certificate { certificate: certificate?, key: key?, clients })
}

fn client_certificates(at: At<file::ClientCertificates>, reader: &mut Reader<'_>) -> Option<ClientCertificates> {
    let here = At { value: (), span: at.span, path: at.path };
    let roots = reader.require(at.value.roots, "roots", &here);
    let roots = roots.and_then(|path| pem(path, "CERTIFICATE", "a certificate", reader));
    let crl = match at.value.crl {
        Entry::Is(path) => Some(present(path, reader)?),
        Entry::Absent => None,
        Entry::Wrong => return None,
    };
    let required = at.value.mode.or(ShowCertificate::Required) == ShowCertificate::Required;
    Some(ClientCertificates { required, roots: roots?, crl })
}

/// The path of a file that is there. Revocation lists may be longer than what else a configuration reads, and are looked
/// into when they are loaded.
fn present(path: At<FilePath>, reader: &mut Reader<'_>) -> Option<PathBuf> {
    let file = reader.locate(&path.value.0);
    if file.is_file() {
        return Some(file);
    }
    let problem = reader.problem(&path, format!("there is no file {}", reader.written(&path)));
    reader.report(problem.help("paths are relative to the configuration file"));
    None
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

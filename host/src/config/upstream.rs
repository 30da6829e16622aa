//! Upstreams.

mod balance;
mod connections;
mod health;
pub(crate) mod resolver;
mod retries;
pub(crate) mod values;

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{DAY, SECOND, count, count_u32, time, within};
use super::pem::pem;
use super::reader::{At, Entry, Reader};
use super::units::show_duration;
use super::value::{Count, Priority};
use super::{Member, Service, TlsVersion, Upstream, UpstreamProtocol, UpstreamTimeouts, UpstreamTls, file};
use values::{WhenDown, WrittenEndpoint};

/// An upstream, or none after its problems were reported.
pub(crate) fn upstream(name: &str, at: At<file::Upstream>, reader: &mut Reader<'_>) -> Option<Upstream> {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let list = reader.require(written.endpoints, "endpoints", &here);
    let mut endpoints: Vec<Member> = Vec::new();
    let mut services: Vec<Service> = Vec::new();
    if let Some(list) = list {
        if reader.source().slice(&list.span).trim_matches(['[', ']']).trim().is_empty() {
            reader.error(&list, "an upstream has at least one endpoint");
        }
        for At { value, span, path } in list.value {
            let here = At { value: (), span, path };
            let member = match value {
                WrittenEndpoint::Url(endpoint) => Some(Member { endpoint, weight: NonZeroU32::MIN, priority: 0 }),
                WrittenEndpoint::Table(written) => member(*written, &here, reader),
                WrittenEndpoint::Service(service) => {
                    if services.contains(&service) {
                        reader.error(&here, format!("the service {} is in the list twice", reader.written(&here)));
                    }
                    services.push(service);
                    continue;
                }
            };
            let Some(member) = member else { continue };
            if endpoints.iter().any(|known| known.endpoint == member.endpoint) {
                reader.error(&here, format!("the endpoint {} is in the list twice", reader.written(&here)));
            } else {
                endpoints.push(member);
            }
        }
    }
    let balance = balance::balance(written.balance, written.hash, reader);
    let sticky = balance::sticky(written.sticky, reader);
    let tls = match written.tls {
        Entry::Is(tls) => {
            let tls_is_used = endpoints.iter().any(|it| it.endpoint.tls) || services.iter().any(|service| service.tls);
            let any = !endpoints.is_empty() || !services.is_empty();
            if any && !tls_is_used {
                let problem = reader.warning(&tls, "these settings have no effect: no endpoint begins with https://");
                reader.report(problem);
            }
            self::tls(tls, reader)
        }
        Entry::Absent | Entry::Wrong => UpstreamTls::default(),
    };
    let timeouts = written.timeouts.or(file::Timeouts::default());
    let total = time(reader, timeouts.total, 60 * SECOND, DAY);
    let once = match timeouts.once {
        Entry::Absent | Entry::Wrong => None,
        once => {
            let at = once.get().cloned();
            let once = time(reader, once, DAY, DAY);
            if let Some(at) = at.filter(|_| once >= total) {
                let problem =
                    reader.warning(&at, "one try may take as long as all of them: there is never a second one");
                reader.report(problem.help(format!("total is {}", show_duration(total))));
            }
            Some(once)
        }
    };
    Some(Upstream {
        name: name.to_owned(),
        endpoints,
        services,
        balance,
        sticky,
        slow_start: within(reader, written.slow_start, Duration::ZERO, Duration::ZERO..=DAY, show_duration),
        protocol: written.protocol.or(UpstreamProtocol::default()),
        preserve_host: written.preserve_host.or(false),
        proxy_protocol: written.proxy_protocol.value(),
        tls,
        resolve: match written.resolve {
            Entry::Absent | Entry::Wrong => None,
            resolve => Some(within(reader, resolve, 30 * SECOND, SECOND..=DAY, show_duration)),
        },
        timeouts: UpstreamTimeouts {
            connect: time(reader, timeouts.connect, 3 * SECOND, DAY),
            tls: time(reader, timeouts.tls, 5 * SECOND, DAY),
            response_header: time(reader, timeouts.response_header, 15 * SECOND, DAY),
            idle: time(reader, timeouts.idle, 60 * SECOND, DAY),
            once,
            total,
        },
        retries: retries::retries(written.retries, reader),
        health: health::health(written.health, reader),
        ejection: health::ejection(written.ejection, reader),
        breaker: health::breaker(written.breaker, reader),
        try_all_when_down: matches!(written.when_down.or(WhenDown::Refuse), WhenDown::Try),
        hide_errors: written.hide_errors.or(true),
        connections: connections::connections(written.idle_connections, written.connections, reader),
    })
}

fn member(written: file::EndpointTable, here: &At<()>, reader: &mut Reader<'_>) -> Option<Member> {
    let endpoint = reader.require(written.url, "url", here);
    let weight = count_u32(reader, written.weight, 1, 1..=1000);
    Some(Member { endpoint: endpoint?.value.0, weight, priority: written.priority.or(Priority(0)).0 })
}

fn tls(at: At<file::UpstreamTls>, reader: &mut Reader<'_>) -> UpstreamTls {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    match (written.certificate.is_absent(), written.key.is_absent()) {
        (false, true) => reader.error(&here, "there is a certificate, and no \"key\" with it"),
        (true, false) => reader.error(&here, "there is a key, and no \"certificate\" with it"),
        _ => {}
    }
    let mut file = |entry, label, what| match entry {
        Entry::Is(path) => pem(path, label, what, reader),
        Entry::Absent | Entry::Wrong => None,
    };
    let roots = file(written.roots, "CERTIFICATE", "a certificate");
    let certificate = file(written.certificate, "CERTIFICATE", "a certificate");
    let key = file(written.key, "PRIVATE KEY", "a private key");
    UpstreamTls {
        roots,
        name: written.name.value().map(|name| name.0),
        identity: certificate.zip(key),
        oldest: written.min_version.or(TlsVersion::default()),
    }
}

fn number(reader: &mut Reader<'_>, entry: Entry<Count>, default: usize, range: RangeInclusive<usize>) -> u32 {
    u32::try_from(count(reader, entry, default, range).0).unwrap_or(u32::MAX)
}

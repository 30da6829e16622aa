//! Upstreams.

use super::bounds::{DAY, SECOND, count, time};
use super::pem::pem;
use super::reader::{At, Entry, Reader};
use super::{Endpoint, Upstream, UpstreamTimeouts, UpstreamTls, file};

/// An upstream, or none after its problems were reported.
pub(crate) fn upstream(name: &str, at: At<file::Upstream>, reader: &mut Reader<'_>) -> Option<Upstream> {
    let here = At { value: (), span: at.span, path: at.path };
    let written = at.value;
    let list = reader.require(written.endpoints, "endpoints", &here);
    let mut endpoints: Vec<Endpoint> = Vec::new();
    if let Some(list) = list {
        if reader.source().slice(&list.span).trim_matches(['[', ']']).trim().is_empty() {
            reader.error(&list, "an upstream has at least one endpoint");
        }
        for endpoint in list.value {
            if endpoints.contains(&endpoint.value) {
                reader.error(&endpoint, format!("the endpoint {} is in the list twice", reader.written(&endpoint)));
            } else {
                endpoints.push(endpoint.value);
            }
        }
    }
    let tls = match written.tls {
        Entry::Is(tls) => {
            if !endpoints.is_empty() && endpoints.iter().all(|endpoint| !endpoint.tls) {
                let problem = reader.warning(&tls, "these settings have no effect: no endpoint begins with https://");
                reader.report(problem);
            }
            let roots = tls.value.roots;
            let roots =
                if let Entry::Is(path) = roots { pem(path, "CERTIFICATE", "a certificate", reader) } else { None };
            UpstreamTls { roots, name: tls.value.name.value().map(|name| name.0) }
        }
        Entry::Absent | Entry::Wrong => UpstreamTls::default(),
    };
    let timeouts = written.timeouts.value().unwrap_or(file::Timeouts {
        connect: Entry::Absent,
        tls: Entry::Absent,
        response_header: Entry::Absent,
        idle: Entry::Absent,
        total: Entry::Absent,
    });
    Some(Upstream {
        name: name.to_owned(),
        endpoints,
        preserve_host: written.preserve_host.or(false),
        tls,
        timeouts: UpstreamTimeouts {
            connect: time(reader, timeouts.connect, 3 * SECOND, DAY),
            tls: time(reader, timeouts.tls, 5 * SECOND, DAY),
            response_header: time(reader, timeouts.response_header, 15 * SECOND, DAY),
            idle: time(reader, timeouts.idle, 60 * SECOND, DAY),
            total: time(reader, timeouts.total, 60 * SECOND, DAY),
        },
        hide_errors: written.hide_errors.or(true),
        idle_connections: count(reader, written.idle_connections, 64, 0..=100_000).0,
    })
}

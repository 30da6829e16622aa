//! Hooks' inputs and answers as recordings keep them.

use super::Plugin;
use super::interest::{See, Seen};
use crate::bindings::{BodyFlow, Edits, Flow, Header, HeaderIn, Parts, RequestIn, ResponseHeadIn};
use crate::recording::{About, Changes, Fields, Input, Outcome};

/// What a plugin is, for who runs its passes again.
pub(crate) fn about(plugin: &Plugin) -> About {
    let origin = |origin: &crate::config::HttpOrigin| {
        let scheme = if origin.endpoint.tls { "https" } else { "http" };
        format!("{scheme}://{}", origin.endpoint.authority.to_str().unwrap_or_default())
    };
    About {
        plugin: plugin.name.to_string(),
        component: plugin.component.name.to_string(),
        sha256: plugin.component.sha256.clone(),
        config: plugin.config.to_string(),
        kv: plugin.grant.kv.clone(),
        http: plugin.grant.http.iter().map(origin).collect(),
        time_ms: u64::try_from(plugin.limits.time.as_millis()).unwrap_or(u64::MAX),
        memory: plugin.limits.memory as u64,
        fresh: plugin.isolation == crate::config::Isolation::Request,
        sees: [("request", &plugin.sight.request), ("response", &plugin.sight.response)]
            .into_iter()
            .flat_map(|(side, see)| sees(side, see))
            .collect(),
    }
}

fn sees(side: &str, see: &See) -> Vec<String> {
    let parts = [
        (Parts::METHOD, "method"),
        (Parts::SCHEME, "scheme"),
        (Parts::AUTHORITY, "authority"),
        (Parts::PATH, "path"),
        (Parts::QUERY, "query"),
        (Parts::CLIENT, "client"),
    ];
    let parts = parts.into_iter().filter(|(part, _)| see.parts.contains(*part));
    let mut list: Vec<_> = parts.map(|(_, name)| format!("{side}.{name}")).collect();
    match &see.headers {
        Seen::All => list.push(format!("{side}.headers.*")),
        Seen::Only(names) => list.extend(names.iter().map(|(name, _)| format!("{side}.headers.{name}"))),
    }
    match &see.attributes {
        Seen::All => list.push(format!("{side}.attributes.*")),
        Seen::Only(names) => list.extend(names.iter().map(|name| format!("{side}.attributes.{name}"))),
    }
    list
}

/// What a request hook was given.
pub(crate) fn input_of_request(head: &RequestIn) -> Input {
    let RequestIn { method, scheme, authority, path, query, headers, client, attributes } = head.clone();
    let headers = headers.into_iter().map(given).collect();
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Input::Request {
        method: method.unwrap_or_default(),
        scheme: scheme.unwrap_or_default().to_owned(),
        authority: authority.unwrap_or_default(),
        path: path.unwrap_or_default(),
        query,
        headers,
        client,
        attributes,
    }
}

/// What a response hook was given.
pub(crate) fn input_of_response(head: &ResponseHeadIn) -> Input {
    let ResponseHeadIn { status, headers, attributes } = head.clone();
    let headers = headers.into_iter().map(given).collect();
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Input::Response { status, headers, attributes }
}

fn given(field: HeaderIn) -> (String, Vec<u8>) {
    (field.name.to_string(), field.value)
}

/// What a hook for heads answered.
pub(crate) fn outcome(flow: &Flow) -> Outcome {
    match flow {
        Flow::Continue => Outcome::Continue,
        Flow::Edit(edits) => Outcome::Edit(changes(edits, None)),
        Flow::Respond(answer) => {
            Outcome::Respond { status: answer.status, headers: fields(&answer.headers), body: answer.body.clone() }
        }
        Flow::Refuse(problem) => Outcome::Refuse {
            status: problem.status,
            code: problem.code.clone(),
            title: problem.title.clone(),
            detail: problem.detail.clone(),
            headers: fields(&problem.headers),
            faults: problem.faults.iter().map(|fault| (fault.pointer.clone(), fault.detail.clone())).collect(),
        },
    }
}

/// What a hook for bodies answered.
pub(crate) fn outcome_with_body(flow: &BodyFlow) -> Outcome {
    match flow {
        BodyFlow::Continue => Outcome::Continue,
        BodyFlow::Edit(edits) => Outcome::Edit(changes(edits, None)),
        BodyFlow::Replace((edits, body)) => Outcome::Edit(changes(edits, Some(body))),
        BodyFlow::Respond(answer) => outcome(&Flow::Respond(answer.clone())),
        BodyFlow::Refuse(problem) => outcome(&Flow::Refuse(problem.clone())),
    }
}

fn changes(edits: &Edits, body: Option<&Vec<u8>>) -> Changes {
    Changes {
        remove: edits.remove.clone(),
        set: fields(&edits.set),
        append: fields(&edits.append),
        path: edits.path.clone(),
        query: edits.query.clone(),
        status: edits.status,
        attributes: edits.attributes.clone(),
        memo: edits.memo.clone(),
        skip_body: edits.skip_body,
        body: body.cloned(),
    }
}

fn fields(fields: &[Header]) -> Fields {
    fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

//! Asking a registry: who asks, how often it may send us on, and where to.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::challenge::{Challenge, escape};
use super::{NotPulled, refuse};
use crate::capability::http_client::{Answer, Error, Fetch, Outgoing, is_public};
use crate::config::registry::Registry;
use crate::config::{Endpoint, HttpOrigin};
use crate::pem;

/// How often one request is sent on.
const MOST_REDIRECTS: usize = 5;
/// The longest answer of a server of tokens.
const LONGEST_TOKEN: usize = 64 << 10;

pub(super) struct Client<'a> {
    registry: &'a Registry,
    own: HttpOrigin,
    outgoing: Outgoing,
    /// What goes with requests to the registry itself, and to nobody else.
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Client<'a> {
    pub(super) fn new(registry: &'a Registry) -> Result<Self, NotPulled> {
        if let Some(roots) = &registry.roots {
            pem::certificates(roots).map_err(|error| NotPulled(format!("its roots cannot be read: {error}")))?;
        }
        Ok(Self { registry, own: registry.origin(), outgoing: Outgoing::new(), authorization: None })
    }

    /// What is at a path of the registry, of at most so many bytes.
    pub(super) async fn get(
        &mut self,
        path: &str,
        accept: Option<&'static str>,
        longest: usize,
        what: &str,
    ) -> Result<Bytes, NotPulled> {
        let path: Uri = path.parse().map_err(|_| NotPulled(format!("{what} has no path")))?;
        let (mut answer, from) = self.follow(&path, accept, longest, what).await?;
        // Who is not the registry has nothing to ask of us: the password could go where it says.
        if answer.status.as_u16() == 401 && from == self.own && self.authorization.is_none() {
            self.authorize(&answer.headers).await?;
            answer = self.follow(&path, accept, longest, what).await?.0;
        }
        let registry = self.own.endpoint.authority.to_str().unwrap_or_default();
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            404 => refuse(format!("{registry} does not have {what}")),
            status @ (401 | 403) => {
                let known = if self.registry.credentials.is_some() { "this user" } else { "a user that says no name" };
                refuse(format!("{registry} does not give {what} to {known} ({status})"))
            }
            status => refuse(format!("{registry} answers {status} for {what}")),
        }
    }

    /// Asks the registry, and whoever it sends us on to; and says who answered.
    async fn follow(
        &self,
        path: &Uri,
        accept: Option<&'static str>,
        longest: usize,
        what: &str,
    ) -> Result<(Answer, HttpOrigin), NotPulled> {
        let (mut origin, mut target) = (self.own.clone(), path.clone());
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            if let Some(authorization) = self.authorization.as_ref().filter(|_| origin == self.own) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let answer = self.fetch(&origin, target.clone(), headers, longest, what).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((answer, origin));
            }
            let location = text(&answer.headers, LOCATION).and_then(|text| text.parse().ok());
            let Some(location): Option<Uri> = location else {
                return refuse(format!("the registry sends us on for {what}, and does not say where to"));
            };
            // RFC 9110, section 10.2.2: it may be relative, and then begins with a slash.
            if location.authority().is_some() {
                origin = self.elsewhere(&location, what)?;
            }
            target = path_of(&location);
        }
        refuse(format!("the registry sends us on for {what} more than {MOST_REDIRECTS} times"))
    }

    /// Another server, that the registry names: in the clear only if the registry is so, too, and public or granted.
    fn elsewhere(&self, uri: &Uri, what: &str) -> Result<HttpOrigin, NotPulled> {
        let origin = uri
            .scheme_str()
            .zip(uri.authority())
            .and_then(|(scheme, authority)| HttpOrigin::of(&format!("{scheme}://{authority}")));
        let Some(HttpOrigin { endpoint, .. }) = origin else {
            return refuse(format!("the registry sends us on for {what} to where nothing can be"));
        };
        if endpoint == self.own.endpoint {
            return Ok(self.own.clone());
        }
        let shown = show(&endpoint);
        if !endpoint.tls && self.own.endpoint.tls {
            return refuse(format!("the registry sends us on for {what} to {shown}, in the clear"));
        }
        let addresses = &self.registry.addresses;
        let may = |ip: IpAddr| is_public(ip) || addresses.iter().any(|network| network.contains(ip));
        if endpoint.host.parse().is_ok_and(|ip| !may(ip)) {
            return Err(private(&shown, what));
        }
        Ok(HttpOrigin { endpoint, addresses: addresses.clone(), roots: self.registry.roots.clone() })
    }

    async fn fetch(
        &self,
        origin: &HttpOrigin,
        target: Uri,
        mut headers: HeaderMap,
        longest: usize,
        what: &str,
    ) -> Result<Answer, NotPulled> {
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
        let shown = show(&origin.endpoint);
        let fetch = Fetch { origin, target, headers, longest, time: self.registry.timeout };
        self.outgoing.fetch(fetch).await.map_err(|error| match error {
            Error::AddressNotAllowed => private(&shown, what),
            Error::TooLarge => NotPulled(format!("{what} that {shown} sends is longer than {longest} bytes")),
            Error::Resolve => NotPulled(format!("{shown}, for {what}, has no address")),
            Error::Connect => NotPulled(format!("{shown}, for {what}, cannot be reached")),
            Error::Tls => {
                NotPulled(format!("{shown}, for {what}, does not prove who it is: its certificate is not trusted"))
            }
            Error::Timeout => NotPulled(format!("{shown} takes too long for {what}")),
            _ => NotPulled(format!("what {shown} sends for {what} is not HTTP, or not all of it")),
        })
    }

    /// Does what the registry asks of those who ask.
    async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), NotPulled> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|field| field.to_str().ok());
        let basic =
            self.registry.credentials.as_ref().map(|(user, password)| STANDARD.encode(format!("{user}:{password}")));
        let scheme = match challenges.filter_map(Challenge::parse).next() {
            None => return refuse("the registry wants to know who asks, in a way that is not known here"),
            Some(Challenge::Basic) => match basic {
                Some(basic) => format!("Basic {basic}"),
                None => {
                    let host = show(&self.own.endpoint);
                    return refuse(format!(
                        "{host} asks for a user and a password: add them to a table [registry.NAME]"
                    ));
                }
            },
            Some(Challenge::Bearer { realm, parameters }) => {
                format!("Bearer {}", self.token(&realm, &parameters, basic).await?)
            }
        };
        let mut value = HeaderValue::try_from(scheme)
            .map_err(|_| NotPulled("the token has other bytes than a field may".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    async fn token(
        &self,
        realm: &Uri,
        parameters: &[(String, String)],
        basic: Option<String>,
    ) -> Result<String, NotPulled> {
        const WHAT: &str = "a token";
        let origin = self.elsewhere(realm, WHAT)?;
        let mut query: Vec<_> = realm.query().into_iter().map(str::to_owned).collect();
        query.extend(parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))));
        let target = format!("{}?{}", realm.path(), query.join("&")).parse();
        let target = target.map_err(|_| NotPulled("the registry names no place where tokens are".to_owned()))?;
        let mut headers = HeaderMap::new();
        if let Some(Ok(mut basic)) = basic.map(|basic| HeaderValue::try_from(format!("Basic {basic}"))) {
            basic.set_sensitive(true);
            headers.insert(AUTHORIZATION, basic);
        }
        let answer = self.fetch(&origin, target, headers, LONGEST_TOKEN, WHAT).await?;
        if answer.status != StatusCode::OK {
            let shown = show(&origin.endpoint);
            return refuse(format!(
                "{shown} answers {} for a token: are user and password right?",
                answer.status.as_u16()
            ));
        }
        let token = serde_json::from_slice::<Token>(&answer.body).ok().and_then(|it| it.token.or(it.access_token));
        token.ok_or_else(|| NotPulled(format!("what {} sends is no token", show(&origin.endpoint))))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A URI as it goes into a request.
fn path_of(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map(Uri::from).unwrap_or_default()
}

fn show(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.tls { "https" } else { "http" };
    format!("{scheme}://{}", endpoint.authority.to_str().unwrap_or_default())
}

fn private(shown: &str, what: &str) -> NotPulled {
    NotPulled(format!(
        "the registry sends us on for {what} to {shown}, which is not public: where that is right, name its address in \
         `addresses` of a table [registry.NAME]"
    ))
}

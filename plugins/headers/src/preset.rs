//! Security headers for responses, as one word.
//!
//! What they say is the OWASP cheat sheets' advice for REST APIs and for HTTP headers, without the fields that browsers
//! no longer read.

/// Which security headers responses get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// None.
    #[default]
    None,
    /// For answers that programs read: nothing in them may run, load or be framed.
    Api,
    /// For pages that people read: framed by their own site at most, no plug-ins, no foreign base address.
    Browser,
}

/// When a default of a preset is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// The client came by TLS: RFC 6797, section 7.2, forbids the field elsewhere.
    Tls,
    /// An earlier plugin found out who the client is.
    Authenticated,
}

/// A field that is set where the response has none of its name, so that what the upstream chose for itself stays.
pub(crate) type Default = (&'static str, &'static str, When);

impl Preset {
    /// Fields that tell strangers what runs here, and one that opened holes in the browsers that read it.
    pub(crate) fn removed(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Api | Self::Browser => {
                &["server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "x-xss-protection"]
            }
        }
    }

    /// Fields that have one right value.
    pub(crate) fn set(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::None => &[],
            Self::Api | Self::Browser => &[("x-content-type-options", "nosniff")],
        }
    }

    pub(crate) fn defaults(self) -> &'static [Default] {
        match self {
            Self::None => &[],
            Self::Api => &[
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'", When::Always),
                ("referrer-policy", "no-referrer", When::Always),
                ("cross-origin-resource-policy", "same-origin", When::Always),
                HSTS,
                NO_STORE,
            ],
            Self::Browser => &[
                (
                    "content-security-policy",
                    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'; object-src 'none'",
                    When::Always,
                ),
                ("referrer-policy", "strict-origin-when-cross-origin", When::Always),
                ("cross-origin-opener-policy", "same-origin-allow-popups", When::Always),
                ("cross-origin-resource-policy", "same-origin", When::Always),
                ("x-frame-options", "SAMEORIGIN", When::Always),
                HSTS,
                NO_STORE,
            ],
        }
    }
}

/// One year. Without `includeSubDomains`, which would speak for hosts that are not behind this proxy.
const HSTS: Default = ("strict-transport-security", "max-age=31536000", When::Tls);

/// An answer for one client stays out of caches unless its upstream says otherwise.
const NO_STORE: Default = ("cache-control", "no-store", When::Authenticated);

//! Why a body is refused, and what its sender is told.

use http::StatusCode;
use tollgate_sdk::Problem;

use crate::coding::Coding;
use crate::config::Settings;
use crate::schema::Fault;

/// Why a body does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none, and the method needs one.
    Missing,
    /// More than one `Content-Type`.
    ContentTypes,
    /// A media type that is not taken, or none.
    MediaType,
    /// Text in another encoding than UTF-8.
    Charset,
    /// A content coding that cannot be undone, or too many.
    Coding,
    /// A coding's window that is too large.
    Window,
    /// Not what its coding says.
    Undecodable,
    /// More than may come out of a coded body.
    TooLarge,
    /// Not JSON, beyond a limit, or not as the schema has it.
    Invalid(Vec<Fault>),
    /// Checking it would take too many steps.
    TooComplex,
}

impl Refusal {
    /// The stable word.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "body-missing",
            Self::ContentTypes => "repeated-content-type",
            Self::MediaType | Self::Charset => "unsupported-media-type",
            Self::Coding | Self::Window => "unsupported-content-encoding",
            Self::Undecodable => "undecodable-body",
            Self::TooLarge => "body-too-large",
            Self::Invalid(_) => "invalid-body",
            Self::TooComplex => "body-too-complex",
        }
    }

    /// What the client gets for its own body.
    pub(crate) fn to_client(&self, settings: &Settings) -> Problem {
        let status = match self {
            Self::MediaType | Self::Charset | Self::Coding | Self::Window => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Missing | Self::ContentTypes | Self::Undecodable | Self::Invalid(_) | Self::TooComplex => {
                StatusCode::BAD_REQUEST
            }
        };
        let title = match self.code() {
            "body-missing" => "Body Missing",
            "repeated-content-type" => "Repeated Content-Type",
            "unsupported-media-type" => "Unsupported Media Type",
            "unsupported-content-encoding" => "Unsupported Content-Encoding",
            "undecodable-body" => "Undecodable Body",
            "body-too-large" => "Content Too Large",
            "invalid-body" => "Invalid Body",
            _ => "Body Too Complex",
        };
        let mut problem = Problem::new(status, self.code(), title).detail(self.detail(settings));
        match self {
            // RFC 9110, section 15.5.16: these tell what would have been taken.
            Self::MediaType => problem = problem.header("accept", accept(settings)),
            Self::Coding | Self::Window => problem = problem.header("accept-encoding", accept_encoding(settings)),
            Self::Invalid(faults) => {
                for fault in faults {
                    problem = problem.fault(&fault.pointer, &fault.detail);
                }
            }
            _ => {}
        }
        problem
    }

    /// One line for the operator. It has names of members, and no values.
    pub(crate) fn line(&self, settings: &Settings) -> String {
        let mut line = format!("{}: {}", self.code(), self.detail(settings));
        if let Self::Invalid(faults) = self {
            for fault in faults.iter().take(3) {
                line.push_str(&format!(" {:?} {};", fault.pointer, fault.detail));
            }
        }
        line
    }

    fn detail(&self, settings: &Settings) -> String {
        match self {
            Self::Missing => "This request needs a body.".to_owned(),
            Self::ContentTypes => "Send one Content-Type.".to_owned(),
            Self::MediaType => format!("Send the body with one of these as its Content-Type: {}.", accept(settings)),
            Self::Charset => "Send the body in UTF-8.".to_owned(),
            Self::Coding => {
                format!(
                    "Send the body without Content-Encoding, or with up to two of these: {}.",
                    accept_encoding(settings)
                )
            }
            Self::Window => "Encode the body with a window of at most 4 MiB.".to_owned(),
            Self::Undecodable => "The body is not what its Content-Encoding says, or not whole.".to_owned(),
            Self::TooLarge => format!(
                "A coded body may hold {} bytes, and {} times what is sent.",
                settings.max_body, settings.max_ratio
            ),
            Self::Invalid(_) => "The body is not what is expected here.".to_owned(),
            Self::TooComplex => "The body takes too many steps to check. Send less at once.".to_owned(),
        }
    }
}

fn accept(settings: &Settings) -> String {
    let types: Vec<_> =
        settings.content_types.iter().chain(&settings.pass_unvalidated).map(|one| one.written()).collect();
    types.join(", ")
}

fn accept_encoding(settings: &Settings) -> String {
    let codings: Vec<_> = settings.content_encodings.iter().copied().map(Coding::name).collect();
    if codings.is_empty() { "identity".to_owned() } else { codings.join(", ") }
}

//! Calls every function of `crypto`, with keys from its configuration.
use tollgate_sdk::crypto::{self, Algorithm, Hash};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Sign {
    private: Vec<u8>,
    public: Vec<u8>,
    #[serde(default)]
    megabytes: usize,
}

impl Plugin for Sign {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let data = vec![0; self.megabytes << 20];
        let digest = crypto::digest(Hash::Sha256, &data).map(|digest| digest[0]);
        let tag = crypto::hmac(Hash::Sha256, b"key", b"data").unwrap_or_default();
        let tagged = crypto::hmac_verify(Hash::Sha256, b"key", b"data", &tag);
        let signed = crypto::sign(Algorithm::Es256, &self.private, b"data");
        let verified = signed.and_then(|signature| crypto::verify(Algorithm::Es256, &self.public, b"data", &signature));
        let wrong = crypto::verify(Algorithm::EdDsa, &self.public, b"data", &[0; 64]);
        let equal = crypto::equal(&tag, &tag) && !crypto::equal(&tag, &tag[1..]);
        let told = format!("{digest:?} {tagged:?} {verified:?} {equal} {wrong:?}");
        Edits::new().set("x-signed", told).into()
    }
}
plugin!(Sign);

//! Keeps numbers of its own: as many series as it is told to.
use tollgate_sdk::metrics::{Counter, Error, Gauge, Histogram};
use tollgate_sdk::{Complaints, Edits, Flow, Interest, Plugin, Request, plugin, schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "tollgate_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "tollgate_sdk::schemars")]
struct Count {
    series: u32,
}

impl Count {
    fn count(&self) -> Result<(), Error> {
        let seen = Counter::open("seen", "What came by.", &["path"])?;
        (0..self.series).for_each(|number| seen.add(&[&format!("/{number}")], 2));
        Gauge::open("level", "How high.", &[])?.add(&[], -1);
        let spread = Histogram::open("spread", "How far.", &["of"], &[0.5, 1.0])?;
        [0.25, 0.75, 3.0, f64::NAN].into_iter().for_each(|value| spread.observe(&["all\"\n"], value));
        Ok(())
    }
}

impl Plugin for Count {
    type Config = Self;

    fn configure(config: Self) -> Result<Self, Complaints> {
        Ok(config)
    }

    fn interest(&self) -> Interest {
        Interest::new().request(|see| see)
    }

    fn on_request(&self, _: &Request) -> Flow {
        let counted = format!("{:?}", self.count());
        let wrong = [
            Counter::open("level", "", &[]).err(),
            Counter::open("Seen", "", &[]).err(),
            Histogram::open("other", "", &[], &[]).err(),
        ];
        Edits::new().set("x-counted", counted).set("x-wrong", format!("{wrong:?}")).into()
    }
}
plugin!(Count);

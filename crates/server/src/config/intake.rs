//! `[intake]`: a broker in front of the store.

use std::path::Path;

use super::model::Purpose;
use super::reader::Fields;
#[cfg(not(feature = "rabbitmq"))]
use super::reader::Wrong;

/// `[intake]`. This build has no brokers, so there is none.
#[cfg(not(feature = "rabbitmq"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intake {}

#[cfg(not(feature = "rabbitmq"))]
impl Intake {
    pub(super) fn places(&self) -> impl Iterator<Item = &super::secret::Outside> {
        // None of this type exists.
        std::iter::empty()
    }
}

#[cfg(not(feature = "rabbitmq"))]
impl std::fmt::Display for Intake {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

#[cfg(feature = "rabbitmq")]
pub use with_broker::Intake;

pub(super) fn intake(
    fields: Option<Fields<'_>>,
    purpose: Purpose,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Option<Intake> {
    // Whoever takes no pushes has nothing to do with it, and need not have its secrets.
    let fields = fields.filter(|_| purpose == Purpose::Serve)?;
    #[cfg(feature = "rabbitmq")]
    return with_broker::read(&fields, folder, variable);
    #[cfg(not(feature = "rabbitmq"))]
    {
        let _ = (folder, variable);
        fields.wrong(
            Wrong::new("this build of swifthook has no brokers in front of the store")
                .instead("build it with `cargo build --release -p swifthook --features rabbitmq`"),
        );
        None
    }
}

#[cfg(feature = "rabbitmq")]
mod with_broker {
    use std::fmt;
    use std::path::Path;

    use swifthook_core::Secret;
    use swifthook_queue::rabbitmq::{Address, Options};

    use crate::config::reader::{Fields, Node, Wrong};
    use crate::config::secret::{self, Outside};

    /// `[intake]`.
    #[derive(Clone, Debug)]
    pub struct Intake {
        /// Where the broker is.
        pub amqp: Address,
        /// Where that stands, if not in the configuration.
        pub place: Option<Outside>,
        /// Where the keys stand with which messages are signed.
        pub keys: Vec<Outside>,
        /// How the broker is used, with the keys.
        pub options: Options,
    }

    impl Intake {
        /// Where secrets of it stand.
        pub(crate) fn places(&self) -> impl Iterator<Item = &Outside> {
            self.keys.iter().chain(&self.place)
        }
    }

    /// Without anything that is secret.
    impl fmt::Display for Intake {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let signed = if self.keys.is_empty() { "not signed" } else { "signed" };
            write!(f, "the queue `{}` of {}, {signed}", self.options.queue, self.amqp)
        }
    }

    impl PartialEq for Intake {
        fn eq(&self, other: &Self) -> bool {
            let of = |intake: &Self| {
                let Options { queue, prefetch, .. } = intake.options.clone();
                (intake.amqp.clone(), intake.place.clone(), intake.keys.clone(), queue, prefetch)
            };
            of(self) == of(other)
        }
    }

    type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

    pub(super) fn read(fields: &Fields<'_>, folder: &Path, variable: Variable<'_>) -> Option<Intake> {
        let defaults = Options::default();
        let amqp = fields
            .need("amqp", "`amqp = \"amqp://broker.example.org:5672\"`")
            .and_then(|node| node.read(|text| address(text, folder, variable)));
        let queue = fields.or("queue", defaults.queue.clone(), |node| node.read(queue));
        let prefetch = fields.or("prefetch", defaults.prefetch, |node| {
            let number: u16 = node.number()?;
            if number == 0 {
                node.wrong(
                    Wrong::new("`prefetch` is 0, which would be without a bound").instead("at least 1"),
                );
            }
            Some(number)
        });
        let keys =
            fields.get("keys").map_or(Some((Vec::new(), Vec::new())), |node| keys(&node, folder, variable));
        fields.finish();
        let ((amqp, place), (places, keys)) = (amqp?, keys?);
        Some(Intake { amqp, place, keys: places, options: Options { queue, prefetch, keys, ..defaults } })
    }

    /// The URL, or where it stands.
    fn address(
        text: &str,
        folder: &Path,
        variable: Variable<'_>,
    ) -> Result<(Address, Option<Outside>), Wrong> {
        let place = Outside::parse(text, folder);
        let url = place.as_ref().map(|place| place.value(variable)).transpose()?;
        let address: Address = url.as_deref().unwrap_or(text).parse().map_err(|error| match &place {
            None => Wrong::from(error),
            Some(place) => Wrong::new(format!("`{place}` does not hold the URL of a broker: {error}")),
        })?;
        if place.is_none() && address.has_password() {
            return Err(Wrong::new(
                "a password does not stand in the configuration itself: configurations are shared and kept",
            )
            .instead("write `amqp = \"env:NAME\"` or `amqp = \"file:PATH\"` with the whole URL there"));
        }
        Ok((address, place))
    }

    fn queue(name: &str) -> Result<String, Wrong> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        // Brokers take 255 bytes, and the queue of dead letters has a longer name.
        let is_name = (1..=200).contains(&name.len()) && name.bytes().all(is_plain);
        if !is_name || name.starts_with("amq.") {
            return Err(Wrong::new(format!("not a name for a queue: `{name}`"))
                .instead("letters, digits, `-`, `_`, `.` and `:`, and not `amq.` at its beginning"));
        }
        Ok(name.to_owned())
    }

    fn keys(node: &Node<'_>, folder: &Path, variable: Variable<'_>) -> Option<(Vec<Outside>, Vec<Secret>)> {
        let items = node.items();
        if !(1..=4).contains(&items.len()) {
            node.wrong(
                Wrong::new(format!("{} keys", items.len())).instead(
                    "1 to 4: the first signs, and each is good, while one takes the place of another",
                ),
            );
            return None;
        }
        let one = |item: &Node<'_>| {
            let place = item.read(|text| secret::reference(text, folder))?;
            let value = place.value(variable).map_err(|missing| item.wrong(missing.into())).ok()?;
            let length = value.len();
            let Ok(key) = Secret::new(&place.to_string(), value) else {
                item.wrong(
                    Wrong::new(format!("the key in `{place}` has {length} bytes"))
                        .instead("at least 16; `openssl rand -hex 32` makes a good one"),
                );
                return None;
            };
            Some((place, key))
        };
        let read: Vec<_> = items.iter().map(one).collect();
        Some(read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }
}

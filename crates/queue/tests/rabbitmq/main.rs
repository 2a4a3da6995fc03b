//! RabbitMQ in front of SQLite and of PostgreSQL keeps every promise of an intake. Runs against the brokers and the
//! database that `SWIFTHOOK_TEST_RABBITMQ` and `SWIFTHOOK_TEST_POSTGRES` name, where each test makes queues and a schema
//! of its own; those that stop a broker start one of their own, with the programs of an installed RabbitMQ.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod bench;
mod broker;
mod dead;
mod gate;
mod leaving;
mod proxy;
mod queues;
#[path = "../common/schema.rs"]
mod schema;
mod trouble;

mod in_front_of_sqlite {
    use crate::bench::Bench;

    swifthook_conformance::intake_conformance!(Bench::over_sqlite());
    swifthook_conformance::durable_intake_conformance!(Bench::over_sqlite());
    swifthook_conformance::brokered_intake_conformance!(Bench::over_sqlite().with_a_broker_of_its_own());
}

mod in_front_of_postgres {
    use crate::bench::Bench;

    swifthook_conformance::intake_conformance!(Bench::over_postgres());
    swifthook_conformance::durable_intake_conformance!(Bench::over_postgres());
    swifthook_conformance::brokered_intake_conformance!(Bench::over_postgres().with_a_broker_of_its_own());
}

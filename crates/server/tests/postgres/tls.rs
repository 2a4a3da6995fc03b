//! Connections over TLS, with an authority of the tests' own.

use swifthook_queue::postgres::{Options, PostgresQueue};

use crate::cluster::Cluster;
use crate::site::Site;
use crate::world::job_of;

#[test]
fn a_server_works_over_tls_and_a_database_that_is_not_the_one_meant_is_refused() {
    let cluster = Cluster::new();
    let plain = cluster.database("tls");
    let authorities = cluster.only_over_tls("localhost");
    let of = |host: &str, options: &str| format!("{}?{options}", plain.replace("127.0.0.1", host));
    let (ours, others) = (authorities.ours.display(), authorities.others.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let opens = |url: String| match runtime.block_on(PostgresQueue::open(&url, Options::default())) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{:?}", error)),
    };
    let refused = |url: String, why: &str| {
        let error = opens(url.clone()).expect_err(&url);
        assert!(error.contains(why), "{url}: {error}");
    };

    for url in [
        of("127.0.0.1", ""),
        of("127.0.0.1", "sslmode=require"),
        of("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={ours}")),
        of("127.0.0.1", &format!("sslmode=require&sslrootcert={ours}")),
        of("localhost", &format!("sslmode=verify-full&sslrootcert={ours}")),
    ] {
        assert_eq!(opens(url.clone()), Ok(()), "{url}");
    }
    refused(of("127.0.0.1", "sslmode=disable"), "no encryption");
    refused(of("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={ours}")), "NotValidForName");
    refused(of("localhost", "sslmode=verify-full"), "UnknownIssuer");
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(of("localhost", &format!("sslmode={mode}&sslrootcert={others}")), "UnknownIssuer");
    }

    let url = of("localhost", &format!("sslmode=verify-full&sslrootcert={ours}"));
    let site = Site::new(&url, "run = { command = [\"true\"] }");
    let server = site.serve("");
    let id = job_of(&server.deliver(&site.push().1));
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", site.world.server_log());
}

use std::net::SocketAddr;
use std::path::Path;

use crate::repository::{self, LENGTH, REPOSITORY};
use crate::site::Site;

/// What the configurations of all processes have in common.
pub(crate) struct Config<'a> {
    pub(crate) site: &'a Site,
    pub(crate) store: &'a str,
    /// The name of its state directory.
    pub(crate) state: &'a str,
}

impl Config<'_> {
    pub(crate) fn of_a_receiver(
        &self,
        hooks: SocketAddr,
        admin: SocketAddr,
        slots: usize,
        broker: Option<&Path>,
    ) -> String {
        let intake = broker
            .map_or_else(String::new, |file| format!("\n[intake]\namqp = \"file:{}\"\n", file.display()));
        format!(
            r#"[server]
listen = "{hooks}"
admin_listen = "{admin}"
reconcile = "off"
admin_token = "env:SWIFTHOOK_KILL_TOKEN"

[[hook]]
name = "github"
path = "/webhook"
secrets = ["env:SWIFTHOOK_KILL_SECRET"]
repositories = ["acme/*"]

[worker]
slots = {slots}
{}"#,
            intake + &self.common()
        )
    }

    pub(crate) fn of_a_worker(&self, listen: SocketAddr, slots: usize) -> String {
        format!("[worker]\nslots = {slots}\nlisten = \"{listen}\"\n{}", self.common())
    }

    fn common(&self) -> String {
        let (folder, store, state) = (self.site.path().display(), self.store, self.state);
        let (origin, locks) = (repository::path(self.site.path()), self.site.locks());
        let (origin, locks, marks) = (origin.display(), locks.display(), self.site.marks());
        let marks = marks.display();
        format!(
            r#"
[store]
url = "{store}"
state_dir = "{folder}/{state}"

[[repository]]
name = "{REPOSITORY}"
clone_url = "file://{origin}"

[[recipe]]
name = "train"
repository = "{REPOSITORY}"
branches = ["train/*"]
paths = ["number"]
superseded = "keep"
retry = {{ attempts = 6, backoff = "1s" }}
env = {{ MARKS = "{marks}", LOCKS = "{locks}", LENGTH = "{LENGTH}" }}
trust = "code"
run = {{ command = ["sh", "-c", '''{RUN}'''] }}
"#
        )
    }
}

/// Lines are appended whole, since each is one write to a file that is opened to append. A run holds the lock of its
/// group as long as anything of it is alive, and says so if another one does.
const RUN: &str = r#"number=$(cat number); say() { echo "$SWIFTHOOK_RUN $1 $number" >>"$MARKS"; }
exec 9>>"$LOCKS/$((number / LENGTH))"; flock -n 9 || say overlap
say begin; sleep "$(cat pause)"; say end"#;

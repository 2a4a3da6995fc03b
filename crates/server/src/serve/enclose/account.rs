//! The user that a run becomes.

use std::process::Stdio;

use swifthook_core::{Account, Fingerprint, Reason};
use swifthook_runner::Uncomposed;
use tokio::process::Command;

use crate::config::NOBODY_ELSE;

/// A user of this machine.
pub(super) struct User {
    pub(super) account: Account,
    pub(super) home: Option<String>,
}

impl User {
    /// Looks one up by name.
    pub(super) async fn named(name: &str) -> Result<Self, Uncomposed> {
        let line = told("getent", &["passwd", "--", name]).await?;
        let fields: Vec<_> = line.trim_end().split(':').collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok());
        let (Some(user), Some(group)) = (number(2), number(3)) else {
            return Err(unfit(format!(
                "this machine has no user `{name}`, as which `isolation` has its runs"
            )));
        };
        if user == 0 {
            return Err(unfit(format!(
                "`{name}` is another name of root, whose runs are not isolated from anything"
            )));
        }
        let groups = told("id", &["-G", "--", name]).await?;
        let groups = groups.split_whitespace().filter_map(|group| group.parse().ok()).collect();
        let home = fields.get(5).filter(|home| home.starts_with('/')).map(ToString::to_string);
        Ok(Self { account: Account { user, group, groups, name: None }, home })
    }
}

/// The user of the runs of a recipe where the server is root and the recipe names nobody: the same at each start, another
/// for each recipe and each state directory (by its `mark`), and none of the machine's.
pub(super) fn of_recipe(mark: &str, recipe: &str) -> Account {
    let number = number(mark, "recipe", recipe);
    Account { user: number, group: number, groups: Vec::new(), name: Some("swifthook-run".to_owned()) }
}

/// The group that reads the objects of a repository.
pub(super) fn of_repository(mark: &str, repository: &str) -> u32 {
    number(mark, "repository", repository)
}

/// One of the quarter of a milliard that nobody gives away.
fn number(mark: &str, kind: &str, name: &str) -> u32 {
    let digest = Fingerprint::of([mark, kind, name]).to_string();
    NOBODY_ELSE | u32::from_str_radix(&digest[..7], 16).expect("a digest begins with hexadecimal digits")
}

async fn told(program: &str, arguments: &[&str]) -> Result<String, Uncomposed> {
    let asked = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let asked = asked.await;
    let asked = asked.map_err(|error| Uncomposed::NotNow(format!("`{program}` cannot be run: {error}")))?;
    Ok(String::from_utf8_lossy(&asked.stdout).into_owned())
}

pub(super) fn unfit(why: String) -> Uncomposed {
    Uncomposed::Unfit(Reason::new("config", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_is_looked_up_and_a_missing_one_told() {
        let nobody = User::named("nobody").await.unwrap_or_else(|why| panic!("{why:?}"));
        assert!(nobody.account.user != 0 && nobody.account.groups.contains(&nobody.account.group));
        assert!(nobody.home.unwrap().starts_with('/'));
        for (name, said) in [("no-such-user", "no user `no-such-user`"), ("0", "another name of root")] {
            match User::named(name).await {
                Err(Uncomposed::Unfit(why)) => assert!(why.detail.contains(said), "{why}"),
                other => panic!("{:?}", other.err()),
            }
        }
    }

    #[test]
    fn each_recipe_has_a_user_of_its_own_that_stays_and_is_nobody_elses() {
        let user = |mark, recipe| of_recipe(mark, recipe).user;
        assert_eq!(user("0123abcd", "sft"), user("0123abcd", "sft"));
        let all = [user("0123abcd", "sft"), user("0123abcd", "dpo"), user("4567abcd", "sft")];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
        assert!(!all.contains(&of_repository("0123abcd", "sft")));
        // Below are those of users, containers and services: https://systemd.io/UIDS-GIDS/
        assert!(all.iter().all(|number| (0x7000_0000..0x8000_0000).contains(number)), "{all:?}");
    }
}

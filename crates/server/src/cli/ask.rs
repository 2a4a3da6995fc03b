use std::io::{self, BufRead, IsTerminal, Write};

use super::reach::Error;
use super::screen::harmless;

/// Asks whoever sits there whether this is meant.
pub(super) fn ask(would: &[String]) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NobodyToAsk { would: would.join(", and ") });
    }
    let mut question = io::stderr().lock();
    let asked = writeln!(question, "This would {}.", harmless(&would.join(", and ")))
        .and_then(|()| write!(question, "Go on? [y/N] "))
        .and_then(|()| question.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    let is_yes = answered.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if is_yes { Ok(()) } else { Err(Error::Unconfirmed) }
}

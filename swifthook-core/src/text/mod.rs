//! Text of others on its way to people: without what a terminal obeys or a reader does not see, and without what lets
//! somebody in.

mod printable;
mod quoted;
mod user_info;

pub use printable::{is_printable, printable, printable_lines};
pub use quoted::{is_quoted_path, quoted_path};
pub use user_info::{address_without_user_info, without_user_info};

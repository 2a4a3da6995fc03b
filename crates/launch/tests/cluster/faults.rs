//! What goes wrong between the API server and whoever asks it.

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It does not come through.
    Lost,
    /// It is done, and nobody learns of it.
    Unanswered,
    /// It is refused with this status, after which one may ask again after so many seconds.
    Refused(u16, u32),
}

/// What goes wrong with a request, by its method and path.
type Plan = dyn FnMut(&str, &str) -> Fault + Send;

pub(crate) struct Faults {
    pub(super) is_cut_off: bool,
    pub(super) next: Box<Plan>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { is_cut_off: false, next: Box::new(|_, _| Fault::None) }
    }
}

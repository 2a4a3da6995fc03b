use std::collections::VecDeque;

use swifthook_core::Progress;

/// Where the loss of a run has been lately, and whether it is far from there.
#[derive(Default)]
pub(super) struct Band {
    recent: VecDeque<f64>,
    /// How many lines in a row have been above it.
    above: usize,
    last: f64,
}

impl Band {
    /// Takes in the loss of another step than `before`.
    pub(super) fn note(&mut self, before: Option<u64>, progress: &Progress) {
        let Some(loss) = progress.loss.filter(|_| progress.step != before) else { return };
        self.last = loss;
        match self.top() {
            Some(top) if loss > top => self.above += 1,
            _ => {
                self.above = 0;
                if self.recent.len() == MOST {
                    self.recent.pop_front();
                }
                self.recent.push_back(loss);
            }
        }
    }

    /// Why the loss is astray, if it is.
    pub(super) fn off(&self) -> Option<String> {
        let top = self.top().filter(|_| self.above >= IN_A_ROW)?;
        Some(format!("the loss is {:.4}, far above its band, which ends at {top:.4}", self.last))
    }

    /// Ten times the usual distance above the middle. Nothing while too little is known.
    fn top(&self) -> Option<f64> {
        if self.recent.len() < FEWEST {
            return None;
        }
        let middle = median(self.recent.iter().copied());
        let distance = median(self.recent.iter().map(|loss| (loss - middle).abs()));
        Some(middle + 10.0 * distance.max(0.05 * middle.abs()).max(1e-3))
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = numbers.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

const FEWEST: usize = 20;
const MOST: usize = 64;
const IN_A_ROW: usize = 3;

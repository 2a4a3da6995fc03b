use serde::{Deserialize, Serialize};

use super::Settings;

/// A logistic regression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Model {
    weights: [f64; FEATURES],
    bias: f64,
}

/// How well a model does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// The mean cross-entropy, in nats, without the penalty on weights.
    pub(super) loss: f64,
    /// The part of the examples that it labels as they are labelled.
    pub(super) accuracy: f64,
}

impl Model {
    /// One step against the gradient of cross-entropy and penalty over `batch`. Answers the score before the step,
    /// and the length of the gradient.
    pub(super) fn descend(&mut self, batch: &[&Example], settings: &Settings) -> (Score, f64) {
        let score = self.score(batch.iter().copied());
        let (weights, bias) = self.gradient(batch, settings.l2);
        for (weight, slope) in self.weights.iter_mut().zip(weights) {
            *weight -= settings.learning_rate * slope;
        }
        self.bias -= settings.learning_rate * bias;
        let squares: f64 = weights.iter().map(|slope| slope * slope).sum();
        (score, (squares + bias * bias).sqrt())
    }

    pub(super) fn score<'a>(&self, examples: impl Iterator<Item = &'a Example>) -> Score {
        let (mut count, mut loss, mut right) = (0.0, 0.0, 0.0);
        for example in examples {
            let logit = self.logit(example);
            count += 1.0;
            loss += softplus(logit) - if example.label { logit } else { 0.0 };
            right += f64::from(u8::from((logit > 0.0) == example.label));
        }
        Score { loss: loss / count, accuracy: right / count }
    }

    fn gradient(&self, batch: &[&Example], l2: f64) -> ([f64; FEATURES], f64) {
        let mut weights = self.weights.map(|weight| l2 * weight);
        let mut bias = 0.0;
        let share = 1.0 / batch.len() as f64;
        for example in batch {
            let error = share * (sigmoid(self.logit(example)) - f64::from(u8::from(example.label)));
            for (slope, feature) in weights.iter_mut().zip(example.features) {
                *slope += error * feature;
            }
            bias += error;
        }
        (weights, bias)
    }

    fn logit(&self, example: &Example) -> f64 {
        self.bias + self.weights.iter().zip(example.features).map(|(weight, x)| weight * x).sum::<f64>()
    }
}

/// Made-up examples: points around the origin on either side of a plane that the seed chose, the label of one in
/// twenty-five turned over.
pub(super) struct Data {
    pub(super) training: Vec<Example>,
    pub(super) held_out: Vec<Example>,
}

pub(super) struct Example {
    features: [f64; FEATURES],
    label: bool,
}

impl Data {
    pub(super) fn make(seed: u64) -> Self {
        let mut random = Random(seed);
        let plane: [f64; FEATURES] = std::array::from_fn(|_| random.normal());
        let mut examples = |count| (0..count).map(|_| Example::make(&plane, &mut random)).collect();
        Self { training: examples(TRAINING), held_out: examples(HELD_OUT) }
    }

    /// The examples of a step. They follow from seed and step alone, so that a resumed run sees what it would have
    /// seen without the interruption.
    pub(super) fn batch(&self, settings: &Settings, step: u64) -> Vec<&Example> {
        let mut random = Random(settings.seed ^ step.wrapping_mul(0xd134_2543_de82_ef95));
        (0..settings.batch_size).map(|_| &self.training[random.below(self.training.len())]).collect()
    }
}

impl Example {
    fn make(plane: &[f64; FEATURES], random: &mut Random) -> Self {
        let features: [f64; FEATURES] = std::array::from_fn(|_| random.normal());
        let side = plane.iter().zip(features).map(|(a, b)| a * b).sum::<f64>() > 0.0;
        Self { features, label: side != (random.below(25) == 0) }
    }
}

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): one word of state, the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `0..limit`; the bias of the modulo is of no account for limits this small.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Nearly normal, with mean 0 and variance 1: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

pub(super) const TRAINING: usize = 2_048;
const HELD_OUT: usize = 512;
const FEATURES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let settings = Settings { l2: 0.1, ..Settings::default() };
        let data = Data::make(3);
        let batch = data.batch(&settings, 1);
        let mut model = Model::default();
        for step in 1..20 {
            model.descend(&data.batch(&settings, step), &settings);
        }
        let loss = |model: &Model| {
            let penalty: f64 = model.weights.iter().map(|w| w * w).sum();
            model.score(batch.iter().copied()).loss + 0.5 * settings.l2 * penalty
        };
        let slope = |nudge: &dyn Fn(&mut Model, f64)| {
            let [mut up, mut down] = [model.clone(), model.clone()];
            nudge(&mut up, 1e-5);
            nudge(&mut down, -1e-5);
            (loss(&up) - loss(&down)) / 2e-5
        };
        let (weights, bias) = model.gradient(&batch, settings.l2);
        for (index, expected) in weights.into_iter().enumerate() {
            let measured = slope(&|model, by| model.weights[index] += by);
            assert!((measured - expected).abs() < 1e-7, "weight {index}: {measured} and {expected}");
        }
        assert!((slope(&|model, by| model.bias += by) - bias).abs() < 1e-7);
    }

    #[test]
    fn the_data_follow_from_the_seed() {
        let first = |seed| Data::make(seed).training[0].features;
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423u64];
        assert_eq!(expected.map(|_| random.next()), expected);
    }
}

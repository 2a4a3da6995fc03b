//! NVIDIA's program, where its library cannot be had: what it prints, read without a process, and the process.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::reading::{Memory, Process, Reading, Source};

/// The program, where it was found.
pub(super) struct Program {
    file: PathBuf,
    patience: Duration,
}

impl Program {
    /// Looks for it on a `PATH`.
    pub(super) fn find(path: &str) -> Result<Self, String> {
        let files = std::env::split_paths(path).map(|folder| folder.join("nvidia-smi"));
        let mut files = files.filter(|file| file.is_absolute() && file.is_file());
        match files.next() {
            Some(file) => Ok(Self { file, patience: PATIENCE }),
            None => Err("there is no nvidia-smi on the PATH".to_owned()),
        }
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let (succeeded, text) = run(&self.file, arguments, self.patience)?;
        if succeeded { Ok(text) } else { Err(refusal(&text)) }
    }
}

impl Source for Program {
    fn look(&mut self) -> Result<Vec<Reading>, String> {
        let gpus = self.ask(&["--query-gpu=index,uuid,name,memory.total,memory.used,memory.free,utilization.gpu,mig.mode.current", CSV]);
        let gpus = match gpus {
            // A driver that is older than slices.
            Err(why) if why.contains("mig.mode.current") => self.ask(&[
                "--query-gpu=index,uuid,name,memory.total,memory.used,memory.free,utilization.gpu",
                CSV,
            ])?,
            other => other?,
        };
        let listed = rows(&gpus)?;
        let processes = processes(&self.ask(&["--query-compute-apps=gpu_uuid,pid,used_gpu_memory", CSV])?);
        let slices = match listed.iter().any(|row| row.is_sliced) {
            true => slices(&self.ask(&["-L"])?),
            false => HashMap::new(),
        };
        Ok(listed.into_iter().flat_map(|row| row.readings(&processes, &slices)).collect())
    }

    fn minors(&mut self) -> HashMap<Arc<str>, u32> {
        self.ask(&["-q"]).map(|text| minors(&text)).unwrap_or_default()
    }

    fn name(&self) -> &'static str {
        "nvidia-smi"
    }
}

/// A line about a GPU.
struct Row {
    reading: Reading,
    is_sliced: bool,
}

impl Row {
    /// The GPU with its processes, or its slices in place of it.
    fn readings(
        self,
        processes: &HashMap<Arc<str>, Vec<Process>>,
        slices: &HashMap<Arc<str>, Vec<(Arc<str>, String)>>,
    ) -> Vec<Reading> {
        let Self { reading, is_sliced } = self;
        if !is_sliced {
            let processes = processes.get(&reading.uuid).cloned().unwrap_or_default();
            return vec![Reading { processes, ..reading }];
        }
        let of_this = slices.get(&reading.uuid).into_iter().flatten();
        let slice = |(uuid, profile): &(Arc<str>, String)| Reading {
            uuid: uuid.clone(),
            name: format!("{} MIG {profile}", reading.name).into(),
            is_slice: true,
            memory: Err("nvidia-smi does not tell the memory of a slice; NVML would".to_owned()),
            utilization: None,
            processes: Vec::new(),
            ..reading.clone()
        };
        of_this.map(slice).collect()
    }
}

/// `0, GPU-…, NVIDIA A100-SXM4-80GB, 81920, 455, 81465, 0, Disabled`: numbers in MiB and percent, and words in brackets
/// where there is none.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [index, uuid, name, total, used, free, utilization, rest @ ..] = &fields[..] else {
        return Err(format!("nvidia-smi says what is not understood: `{}`", shortened(line)));
    };
    let index = index
        .parse()
        .map_err(|_| format!("nvidia-smi says what is not understood: `{}`", shortened(line)))?;
    let memory = match (mib(total), mib(used), mib(free)) {
        (Ok(total), Ok(used), Ok(free)) if uuid.starts_with("GPU-") => Ok(Memory { total, used, free }),
        (Ok(_), Ok(_), Ok(_)) => Err(format!("it does not tell who it is: {uuid}")),
        (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => Err(why),
    };
    let percent = utilization.parse().ok();
    let memory = match utilization {
        // Not to know is the way of slices and of some virtual ones; not to be able to say is that of a broken one.
        word if percent.is_none() && !is_unsupported(word) => Err(format!("it does not tell: {word}")),
        _ => memory,
    };
    let is_sliced = rest.first().is_some_and(|mode| *mode == "Enabled");
    let reading = Reading {
        uuid: if uuid.starts_with('[') { format!("number {index}").into() } else { Arc::from(*uuid) },
        name: Arc::from(*name),
        index,
        is_slice: false,
        memory,
        utilization: percent,
        processes: Vec::new(),
    };
    Ok(Row { reading, is_sliced })
}

fn is_unsupported(word: &str) -> bool {
    matches!(word, "[N/A]" | "N/A" | "[Not Supported]")
}

/// A number of MiB, in bytes; else the word that stands in its place.
fn mib(text: &str) -> Result<u64, String> {
    let number: Option<u64> = text.parse().ok();
    number.and_then(|mib| mib.checked_mul(1 << 20)).ok_or_else(|| match text {
        word if is_unsupported(word) => format!("its memory cannot be told: {word}"),
        word => word.to_owned(),
    })
}

/// `GPU-…, 4711, 30104`: the processes of each GPU. What is not understood is not counted: they only explain.
fn processes(text: &str) -> HashMap<Arc<str>, Vec<Process>> {
    let mut all: HashMap<Arc<str>, Vec<Process>> = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [uuid, pid, memory] = fields[..] else { continue };
        let Ok(pid) = pid.parse() else { continue };
        all.entry(uuid.into()).or_default().push(Process { pid, memory: mib(memory).ok() });
    }
    all
}

/// What `nvidia-smi -L` lists under each GPU: the slices, by their names for `CUDA_VISIBLE_DEVICES`, with their profiles.
fn slices(text: &str) -> HashMap<Arc<str>, Vec<(Arc<str>, String)>> {
    let mut all: HashMap<Arc<str>, Vec<_>> = HashMap::new();
    let mut gpu: Option<Arc<str>> = None;
    for line in text.lines() {
        let Some((what, uuid)) = line.rsplit_once("(UUID: ") else { continue };
        let uuid: Arc<str> = uuid.trim().trim_end_matches(')').into();
        match (what.trim().strip_prefix("MIG "), &gpu) {
            (Some(profile), Some(gpu)) => {
                let profile = profile.split_whitespace().next().unwrap_or_default().to_owned();
                all.entry(gpu.clone()).or_default().push((uuid, profile));
            }
            (Some(_), None) => {}
            (None, _) => gpu = Some(uuid),
        }
    }
    all
}

/// `GPU UUID : GPU-…` and, some lines below, `Minor Number : 0`, as `nvidia-smi -q` has them for each GPU.
fn minors(text: &str) -> HashMap<Arc<str>, u32> {
    let mut all = HashMap::new();
    let mut gpu = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match (name.trim(), value.trim()) {
            ("GPU UUID", uuid) => gpu = uuid.starts_with("GPU-").then(|| Arc::from(uuid)),
            ("Minor Number", number) => {
                if let (Some(gpu), Ok(number)) = (gpu.take(), number.parse()) {
                    all.insert(gpu, number);
                }
            }
            _ => {}
        }
    }
    all
}

/// The first line that says something, of a program that failed.
fn refusal(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    format!("nvidia-smi: {}", shortened(line.unwrap_or("it failed and said nothing")))
}

fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}

/// Runs the program to its end, or kills it when its time is up: whether it succeeded, and what it printed.
fn run(file: &Path, arguments: &[&str], patience: Duration) -> Result<(bool, String), String> {
    let deadline = Instant::now() + patience;
    let failed = |error: io::Error| format!("`{}` cannot be run: {error}", file.display());
    let mut child = Command::new(file)
        .args(arguments)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let outputs = (child.stdout.take(), child.stderr.take());
    let (say, said) = channel();
    thread::spawn(move || say.send((read(outputs.0), read(outputs.1))));
    // Whoever has its output by then has not ended either.
    let output = said.recv_timeout(patience);
    let ended = match output {
        Ok(_) => wait(&mut child, deadline).map_err(failed)?,
        Err(_) => None,
    };
    match (ended, output) {
        (Some(status), Ok((printed, _))) if status.success() => Ok((true, printed)),
        (Some(_), Ok((printed, complained))) => Ok((false, printed + &complained)),
        _ => {
            // What hangs in the driver cannot be killed before the driver lets go of it, and nobody waits for that.
            let _ = child.kill();
            thread::spawn(move || child.wait());
            Err(format!("nvidia-smi does not answer within {} s", patience.as_secs_f32()))
        }
    }
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn read(output: Option<impl Read>) -> String {
    let mut text = Vec::new();
    // What was read before an error is what there is.
    let _ = output.map(|output| output.take(MOST_PRINTED).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

const CSV: &str = "--format=csv,noheader,nounits";
/// It takes a second where the driver has to wake up eight GPUs first.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_PRINTED: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// As these machines answer: an A100 and an H200, one of which is used; a GeForce with a desktop; a Jetson, which
    /// shares its memory.
    const A100_AND_H200: &str = "\
0, GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40, NVIDIA A100-SXM4-80GB, 81920, 31104, 50467, 97, Disabled
1, GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a, NVIDIA H200, 143771, 0, 143156, 0, Disabled
";
    const GEFORCE: &str = "0, GPU-1b724e78-eef5-4163-d43c-e4da15d41176, NVIDIA GeForce RTX 4070 Laptop GPU, 8188, 412, 7535, 3, [N/A]\n";
    const JETSON: &str =
        "0, GPU-0f5d4f3c-6c5b-5c0a-8f3e-52c3c3d5c2a1, Orin (nvgpu), [N/A], [N/A], [N/A], [N/A], [N/A]\n";
    const OLD_TESLA: &str =
        "0, GPU-5ff7d1a2-2d3c-8c1d-2c7e-c1b1b1a0e2f3, Tesla K80, 11441, 0, 11441, [Not Supported]\n";
    const SLICED: &str = "\
0, GPU-838f60d9-651f-9166-ea42-f9da674a6947, NVIDIA A100-SXM4-40GB, 40960, 25, 40134, [N/A], Enabled
1, GPU-e109d8d9-923e-7235-0429-96b7fdbcbd30, NVIDIA A100-SXM4-40GB, 40960, 0, 40536, 0, Disabled
";
    const UNPRIVILEGED: &str = "0, GPU-838f60d9-651f-9166-ea42-f9da674a6947, NVIDIA A100-SXM4-80GB, \
        [Insufficient Permissions], [Insufficient Permissions], [Insufficient Permissions], [N/A], Disabled\n";
    const BROKEN: &str = "\
0, GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40, NVIDIA A100-SXM4-80GB, 81920, 0, 81465, [Unknown Error], Disabled
1, GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a, NVIDIA A100-SXM4-80GB, [GPU requires reset], [GPU requires reset], \
[GPU requires reset], [GPU requires reset], [GPU requires reset]
2, [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]
3, GPU-e109d8d9-923e-7235-0429-96b7fdbcbd30, NVIDIA A100-SXM4-80GB, 81920, 0, 81465, 0, Disabled
";

    fn readings(text: &str) -> Vec<Reading> {
        rows(text).unwrap().into_iter().map(|row| row.reading).collect()
    }

    #[test]
    fn gpus_are_read_as_the_program_tells_of_them() {
        let [a100, h200] = &readings(A100_AND_H200)[..] else { panic!("two") };
        assert_eq!((&*a100.name, a100.index, a100.utilization), ("NVIDIA A100-SXM4-80GB", 0, Some(97)));
        let memory = Memory { total: 81_920 * MIB, used: 31_104 * MIB, free: 50_467 * MIB };
        assert_eq!(a100.memory, Ok(memory));
        assert_eq!(
            (&*h200.uuid, &*h200.name, h200.utilization),
            ("GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a", "NVIDIA H200", Some(0))
        );
        let geforce = readings(GEFORCE).remove(0);
        assert_eq!((geforce.utilization, geforce.memory.unwrap().free), (Some(3), 7_535 * MIB));
        let tesla = readings(OLD_TESLA).remove(0);
        assert_eq!((tesla.utilization, tesla.memory.is_ok()), (None, true), "before there were slices");
    }

    #[test]
    fn what_does_not_tell_its_memory_says_why() {
        assert_eq!(readings(JETSON)[0].memory, Err("its memory cannot be told: [N/A]".into()));
        assert_eq!(readings(UNPRIVILEGED)[0].memory, Err("[Insufficient Permissions]".into()));
    }

    #[test]
    fn one_that_is_broken_does_not_hide_the_others() {
        let told: Vec<_> =
            readings(BROKEN).into_iter().map(|reading| (reading.uuid, reading.memory)).collect();
        assert_eq!(told[0].1, Err("it does not tell: [Unknown Error]".into()));
        assert_eq!(told[1].1, Err("it does not tell: [GPU requires reset]".into()));
        assert_eq!((&*told[2].0, told[2].1.is_err()), ("number 2", true));
        assert!(told[3].1.is_ok());
    }

    #[test]
    fn what_is_not_understood_is_told_and_not_guessed() {
        for text in
            ["0, GPU-1, NVIDIA A100\n", "No devices were found\n", "x, GPU-1, A, 1, 1, 1, 0, Disabled\n"]
        {
            let why = rows(text).map(|_| ()).unwrap_err();
            assert!(why.starts_with("nvidia-smi says what is not understood"), "{why}");
        }
        assert!(rows("\n").unwrap().is_empty());
    }

    #[test]
    fn the_nodes_of_gpus_are_told_by_their_minor_numbers_which_are_not_those_of_their_order() {
        let text = "\
==============NVSMI LOG==============

Driver Version                            : 550.120
Attached GPUs                             : 3
GPU 00000000:07:00.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    MIG Mode
        Current                           : Disabled
    Serial Number                         : 1563221013452
    GPU UUID                              : GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40
    Minor Number                          : 2
    VBIOS Version                         : 92.00.45.00.03

GPU 00000000:0B:00.0
    GPU UUID                              : GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a
    Minor Number                          : 0

GPU 00000000:48:00.0
    GPU UUID                              : GPU-1b724e78-eef5-4163-d43c-e4da15d41176
    Minor Number                          : N/A
";
        let all = minors(text);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all["GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40"], 2);
        assert_eq!(all["GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a"], 0);
        assert!(minors("").is_empty());
    }

    #[test]
    fn processes_are_told_by_gpu() {
        let text = "GPU-9c73, 4711, 30104\nGPU-9c73, 4712, [N/A]\nGPU-c92e, 99, [Insufficient Permissions]\n[N/A], x, 1\n";
        let all = processes(text);
        let two = [Process { pid: 4711, memory: Some(30_104 * MIB) }, Process { pid: 4712, memory: None }];
        assert_eq!(all["GPU-9c73"], two);
        assert_eq!(all["GPU-c92e"], [Process { pid: 99, memory: None }]);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn slices_take_the_place_of_their_gpu() {
        let list = "\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-838f60d9-651f-9166-ea42-f9da674a6947)
  MIG 3g.20gb     Device  0: (UUID: MIG-ffda444c-c706-57c6-98c9-67c441a0b109)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-838f60d9-651f-9166-ea42-f9da674a6947/7/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-e109d8d9-923e-7235-0429-96b7fdbcbd30)
";
        let (processes, slices) = (HashMap::new(), slices(list));
        let all: Vec<_> =
            rows(SLICED).unwrap().into_iter().flat_map(|row| row.readings(&processes, &slices)).collect();
        let shown: Vec<_> = all.iter().map(|one| (&*one.uuid, &*one.name, one.index, one.is_slice)).collect();
        assert_eq!(
            shown,
            [
                ("MIG-ffda444c-c706-57c6-98c9-67c441a0b109", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 0, true),
                (
                    "MIG-GPU-838f60d9-651f-9166-ea42-f9da674a6947/7/0",
                    "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
                    0,
                    true
                ),
                ("GPU-e109d8d9-923e-7235-0429-96b7fdbcbd30", "NVIDIA A100-SXM4-40GB", 1, false),
            ]
        );
        assert!(all[0].memory.is_err(), "which this program does not tell");
    }

    /// A program in its place, which is a script: nothing here asks a driver.
    fn stand_in(script: &str) -> (tempfile::TempDir, Program) {
        let folder = tempfile::tempdir().unwrap();
        // By another process: what this one writes, others that it is starting have open too, and so it cannot be run.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let file = folder.path().join("nvidia-smi");
        let written = Command::new("sh").args(["-c", write]).arg(file).arg(script).status().unwrap();
        assert!(written.success());
        let program = Program::find(folder.path().to_str().unwrap()).map_err(|_| "it is there").unwrap();
        (folder, program)
    }

    #[test]
    fn a_driver_that_fails_is_told_in_its_own_words() {
        for (script, why) in [
            (
                "echo 'Failed to initialize NVML: Driver/library version mismatch'; echo 'NVML library version: 550.120'; exit 18",
                "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch",
            ),
            (
                "echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\" >&2; exit 9",
                "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            ),
            ("echo 'No devices were found'; exit 6", "nvidia-smi: No devices were found"),
            (
                "echo 'Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error'; exit 15",
                "nvidia-smi: Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error",
            ),
            ("exit 1", "nvidia-smi: it failed and said nothing"),
        ] {
            let (_folder, mut program) = stand_in(script);
            assert_eq!(program.look().unwrap_err(), why);
        }
        assert!(Program::find("/nonexistent:relative").is_err());
    }

    #[test]
    fn an_old_driver_is_asked_without_what_it_does_not_know() {
        let script = format!(
            "case \"$*\" in *mig.mode*) echo 'Field \"mig.mode.current\" is not a valid field to query.'; exit 2;; \
             *compute-apps*) ;; *) printf '%s' '{OLD_TESLA}';; esac"
        );
        let (_folder, mut program) = stand_in(&script);
        assert_eq!(program.look().unwrap().len(), 1);
    }

    #[test]
    fn one_that_hangs_is_killed_when_its_time_is_up() {
        let (folder, mut program) = stand_in("echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 1000");
        let mut pid = String::new();
        // On a busy machine it may be killed before it has come to its first line.
        for seconds in [0.3, 3.0, 30.0] {
            program.patience = Duration::from_secs_f32(seconds);
            let began = Instant::now();
            let why = format!("nvidia-smi does not answer within {seconds} s");
            assert_eq!(program.look().unwrap_err(), why);
            assert!(began.elapsed() < Duration::from_secs(300));
            pid = fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
            if !pid.is_empty() {
                break;
            }
        }
        assert!(!pid.is_empty(), "it never began");
        let gone = || fs::metadata(format!("/proc/{}", pid.trim())).is_err();
        let deadline = Instant::now() + Duration::from_secs(120);
        while !gone() {
            assert!(Instant::now() < deadline, "it is alive");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

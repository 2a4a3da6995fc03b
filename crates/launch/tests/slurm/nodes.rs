//! Runs on several nodes, which are all this machine.

use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use swifthook_conformance::launcher::block_on;
use swifthook_core::{RunShape, RunSpec, Stop, StopKind, TrainingLauncher};

use crate::cluster::Cluster;
use crate::support::{ended, script, until};

/// On two nodes, with three processes on each.
fn on_two(cluster: &Cluster, number: u8, text: &str) -> RunSpec {
    let count = |number| NonZeroU32::new(number).unwrap();
    let run = script(&cluster.runs(), &cluster.key(number), text);
    RunSpec { shape: RunShape { nodes: count(2), processes: count(3), ..RunShape::default() }, ..run }
}

fn lines(run: &RunSpec) -> Vec<String> {
    let text = fs::read_to_string(run.run_dir.join("ran")).unwrap_or_default();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn each_node_runs_the_command_once_as_torchrun_wants_it() {
    let cluster = Cluster::of(2);
    let launcher = cluster.launcher();
    block_on(async {
        // Slurm ends all when one has failed, so the one that fails lets the other end first.
        let text = "echo \"$NODE_RANK of $NNODES, $NPROC_PER_NODE, $MASTER_ADDR $MASTER_PORT\" >> \"$RUN_DIR/ran\"
            if [ \"$NODE_RANK\" = 1 ]; then echo $$ > \"$RUN_DIR/other\"; exit 0; fi
            until [ -s \"$RUN_DIR/other\" ] && [ ! -e \"/proc/$(cat \"$RUN_DIR/other\")\" ]; do sleep 0.05; done
            exit 3";
        let run = on_two(&cluster, 1, text);
        let handle = launcher.submit(&cluster.key(1), &run).await.unwrap();
        let exit = ended(&launcher, &handle).await;
        assert_eq!((exit.code, exit.stopped), (Some(3), None), "{exit:?}");
        assert_eq!(lines(&run), ["0 of 2, 3, node1 20001", "1 of 2, 3, node1 20001"]);
    });
}

#[test]
fn all_nodes_may_save_when_their_run_is_asked_to_end() {
    let cluster = Cluster::of(2);
    let launcher = cluster.launcher();
    block_on(async {
        let text = "trap 'echo saved >> \"$RUN_DIR/ran\"; exit 0' TERM; echo began >> \"$RUN_DIR/ran\"; while :; do sleep 0.05; done";
        let run = on_two(&cluster, 1, text);
        let handle = launcher.submit(&cluster.key(1), &run).await.unwrap();
        until("both have begun", || lines(&run).len() == 2).await;
        launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.unwrap();
        let exit = ended(&launcher, &handle).await;
        assert_eq!((exit.code, exit.stopped), (Some(0), Some(StopKind::Cancel)), "{exit:?}");
        assert_eq!(lines(&run), ["began", "began", "saved", "saved"]);
    });
}

fn main() {
    conformance::simulation::watch_panics();
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap_or(1)).collect();
    let t = std::time::Instant::now();
    let mut bad = 0;
    let mut c = conformance::simulation::Counts::default();
    for s in a[0]..a[0] + a[1] {
        let t1 = std::time::Instant::now();
        let o = conformance::simulation::simulate(
            s,
            &conformance::simulation::Options { trace: a.len() > 2, flaw: None },
        );
        c.add(&o.counts);
        for l in &o.trace {
            println!("{l}");
        }
        if t1.elapsed().as_millis() > 1000 {
            println!("slow {s} {:?}", t1.elapsed());
        }
        if !o.objections.is_empty() {
            bad += 1;
            println!("SEED {s}: {:?} vt {:?}", o.objections[0], o.virtual_time);
            if bad > 8 {
                break;
            }
        }
    }
    println!("{:?} bad {bad} {c:?}", t.elapsed());
}

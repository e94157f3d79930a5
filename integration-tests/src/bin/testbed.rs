//! The test program.

fn main() -> std::process::ExitCode {
    elastic_flow_integration_tests::testbed::main::<1>()
}

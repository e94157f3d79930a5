//! The test program with another constant in one closure.

fn main() -> std::process::ExitCode {
    elastic_flow_integration_tests::testbed::main::<2>()
}

module instar.dev/benches/nethttp

go 1.26.0

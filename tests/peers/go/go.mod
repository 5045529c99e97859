module peers

go 1.24

require bw v0.0.0

replace bw => ../../../bindings/go

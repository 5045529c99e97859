module bw

go 1.24

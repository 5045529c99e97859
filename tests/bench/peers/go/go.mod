module bwbench/peer

go 1.19

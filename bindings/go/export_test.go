package bw

// Eventually is for the tests outside of the package.
var Eventually = eventually

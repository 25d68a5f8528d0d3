//go:build race

package integration

// raceEnabled tells whether races are looked for, in the tests and therefore in
// the programs they run, too.
const raceEnabled = true

package main

import "upkeep/compat/cli"

func demo(env *cli.Env, args []string) int { return 1 }

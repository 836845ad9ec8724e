#!/usr/bin/env node
// Runs the program of the package for this platform, which npm installs as an optional dependency.
"use strict";

const { spawn } = require("node:child_process");

const USAGE_ERROR = 2;

function findProgram() {
  const name = `sessionwatch-${process.platform}-${process.arch}`;
  try {
    return require.resolve(`${name}/bin/sessionwatch`);
  } catch {
    console.error(
      `error: the package ${name} is not installed\n` +
        "hint: npm skips it with --omit=optional, " +
        "and there is none for systems other than Linux with glibc on x64 and arm64"
    );
    process.exit(USAGE_ERROR);
  }
}

// npm sets these for npx and for scripts. The commands that the program recommends then work in the same way.
const { npm_command, npm_lifecycle_event } = process.env;
const env = npm_command || npm_lifecycle_event
  ? { ...process.env, SESSIONWATCH_COMMAND: "npx sessionwatch" }
  : process.env;
const child = spawn(findProgram(), process.argv.slice(2), { stdio: "inherit", env });
// The daemon stops and reloads on signals, which only this process receives.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`error: cannot run sessionwatch: ${error.code}`);
  process.exit(USAGE_ERROR);
});
child.on("exit", (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  } else {
    process.exit(code);
  }
});

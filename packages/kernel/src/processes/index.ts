export { createAlone, findSiblings, type Group, type SharedPort, type Siblings } from './siblings.ts';
export { type RunningProcesses, startProcesses } from './start-processes.ts';

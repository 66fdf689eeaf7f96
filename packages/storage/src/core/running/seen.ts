/** How often a process writes down what it runs, while it runs anything. */
export const REPORT_MILLISECONDS = 5_000;

/** What has not been written down for so long is of a process that is gone. */
export const GONE_SECONDS = 30;

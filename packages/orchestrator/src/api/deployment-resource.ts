import type { OrchestratorConfig } from '../config.ts';
import { PHASES, type Status, type Task } from '../core/phases.ts';
import { dnsLabel } from '../core/pod-manifest.ts';
import type { Deployment, Resource } from '../db/schema.ts';
import { wireTime } from './times.ts';

/**
 * The DeploymentResource of brief 2.1 without its links, as events and callbacks carry it. Keys without a value are left
 * out, except `cloudProviderEndpoint`, which orpy needs (brief 8.4).
 */
export function describeDeployment(
  config: OrchestratorConfig,
  deployment: Deployment,
  { status, task }: { status: Status; task: Task } = PHASES[deployment.phase],
): Record<string, unknown> {
  const provider = config.providers.find(({ name }) => name === deployment.provider);
  return {
    uuid: deployment.id,
    creationTime: wireTime(deployment.created_at),
    updateTime: wireTime(deployment.updated_at),
    ...(deployment.provider === null
      ? {}
      : { physicalId: `${dnsLabel(deployment.user_group, 'default')}/${deployment.id}` }),
    status,
    ...(deployment.status_reason === null ? {} : { statusReason: deployment.status_reason }),
    outputs: deployment.outputs,
    task,
    ...(deployment.callback === null ? {} : { callback: deployment.callback }),
    userGroup: deployment.user_group,
    ...(deployment.provider === null ? {} : { cloudProviderName: deployment.provider }),
    cloudProviderEndpoint:
      provider === undefined
        ? {}
        : {
            cpEndpoint: provider.url,
            cpComputeServiceId: provider.node,
            deploymentType: 'KUBERNETES',
            hybridCloudProviderEndpoints: {},
          },
    createdBy: { issuer: deployment.issuer, subject: deployment.subject },
  };
}

export function printDeployment(config: OrchestratorConfig, deployment: Deployment, base: string) {
  const self = `${base}/deployments/${deployment.id}`;
  return {
    ...describeDeployment(config, deployment),
    links: [
      { rel: 'self', href: self },
      { rel: 'resources', href: `${self}/resources` },
      { rel: 'template', href: `${self}/template` },
    ],
  };
}

export function printResource(resource: Resource, base: string) {
  const deployment = `${base}/deployments/${resource.deployment_id}`;
  return {
    uuid: resource.id,
    creationTime: wireTime(resource.created_at),
    updateTime: wireTime(resource.updated_at),
    ...(resource.physical_id === null ? {} : { physicalId: resource.physical_id }),
    state: resource.state,
    toscaNodeType: resource.node_type,
    toscaNodeName: resource.node_name,
    requiredBy: resource.required_by,
    metadata: {},
    links: [
      { rel: 'deployment', href: deployment },
      { rel: 'self', href: `${deployment}/resources/${resource.id}` },
    ],
  };
}

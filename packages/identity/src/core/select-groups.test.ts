import { describe, expect, it } from 'vitest';
import { selectGroups } from './select-groups.ts';

const cms = { groups: ['/cms'], optionalGroups: ['/cms/uscms', '/cms/ALARM'] };

describe('wlcg.groups', () => {
  it.each([
    ['openid', undefined],
    ['wlcg.groups', ['/cms']],
    ['wlcg.groups:/cms/uscms wlcg.groups:/cms/ALARM', ['/cms/uscms', '/cms/ALARM', '/cms']],
    ['wlcg.groups:/cms/uscms wlcg.groups:/cms', ['/cms/uscms', '/cms']],
    ['wlcg.groups wlcg.groups:/cms/uscms', ['/cms', '/cms/uscms']],
    ['wlcg.groups:/cms/uscms wlcg.groups wlcg.groups:/cms/uscms', ['/cms/uscms', '/cms']],
  ])('%s gives %j', (scope, expected) => {
    expect(selectGroups(scope.split(' '), cms)).toEqual(expected);
  });

  it.each([
    ['wlcg.groups:/cms/other', 'access_denied'],
    ['wlcg.groups:/cm', 'access_denied'],
    ['wlcg.groups:cms', 'invalid_scope'],
    ['wlcg.groups:/cms/', 'invalid_scope'],
    ['wlcg.groups:', 'invalid_scope'],
  ])('%s is refused with %s', (scope, code) => {
    expect(() => selectGroups([scope], cms)).toThrow(expect.objectContaining({ code }));
  });
});

-- From where somebody has signed in before: such places stay open while others guess.
create index audit_sign_ins on identity.audit (realm, actor, address, at) where action = 'sign-in' and decision = 'granted';

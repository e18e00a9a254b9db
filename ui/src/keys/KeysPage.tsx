/** The API keys: list, create, revoke. */
import { useEffect, useRef, useState } from "react";
import { apiUrl, send } from "../api/client";
import type { CreatedKey, Key, KeysAnswer } from "../api/types";
import { toApiError, useApi } from "../api/useApi";
import { Failure, Loading } from "../components/States";
import { useTitle } from "../components/useTitle";
import { CreateForm } from "./CreateForm";
import { KeyTable } from "./KeyTable";
import { NewKey } from "./NewKey";
import { RevokeDialog } from "./RevokeDialog";

export default function KeysPage() {
  useTitle("API keys");
  const { data, error, reload } = useApi<KeysAnswer>(apiUrl(["keys"]), {
    ofServer: true,
    maxAge: 0,
    keep: true,
  });
  const [created, setCreated] = useState<CreatedKey>();
  const [revoking, setRevoking] = useState<Key>();
  const [said, setSaid] = useState("");
  const heading = useRef<HTMLHeadingElement>(null);

  const revoke = async (key: Key) => {
    await send(apiUrl(["keys", key.id]), { method: "DELETE", ofServer: true }).catch((cause: unknown) => {
      throw toApiError(cause);
    });
    setRevoking(undefined);
    setSaid(`Revoked ${nameOf(key)}.`);
    if (created?.id === key.id) setCreated(undefined);
    reload();
  };
  // The button that opened the dialog goes with its row.
  useEffect(() => {
    if (said !== "") heading.current?.focus();
  }, [said]);

  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title" ref={heading} tabIndex={-1}>
          API keys
        </h1>
      </div>
      <p className="visually-hidden" role="status">
        {said}
      </p>
      {error ? (
        <Failure error={error} retry={reload} />
      ) : !data ? (
        <Loading label="Loading keys" />
      ) : (
        <>
          {created && <NewKey key={created.id} created={created} onDone={() => setCreated(undefined)} />}
          <KeyTable keys={data.keys} onRevoke={setRevoking} />
          <CreateForm
            onCreated={(key) => {
              setCreated(key);
              reload();
            }}
          />
        </>
      )}
      {revoking && (
        <RevokeDialog
          name={nameOf(revoking)}
          onRevoke={() => revoke(revoking)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </div>
  );
}

function nameOf(key: Key): string {
  return key.name ? `${key.name} (${key.id})` : key.id;
}

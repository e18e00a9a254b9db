/**
 * A link that saves an answer of the API as a file. A plain link carries no header, so the answer about chosen tenants
 * is fetched first.
 */
import { type MouseEvent, useState } from "react";
import { useChosenTenants } from "../address/address";
import { type ApiError, send } from "../api/client";
import { toApiError } from "../api/useApi";

interface Props {
  url: string;
  fileName: string;
  text: string;
}

export function Download({ url, fileName, text }: Props) {
  const tenants = useChosenTenants();
  const [loading, setLoading] = useState(false);
  const [error, setError] = useState<ApiError>();
  const fetchFirst = (event: MouseEvent) => {
    if (tenants === "") return;
    event.preventDefault();
    if (loading) return;
    setLoading(true);
    setError(undefined);
    send(url)
      .then((response) => response.blob())
      .then((blob) => save(blob, fileName))
      .catch((cause: unknown) => setError(toApiError(cause)))
      .finally(() => setLoading(false));
  };
  return (
    <>
      <a className="button" href={url} download={fileName} onClick={fetchFirst}>
        {loading ? "Loading…" : text}
      </a>
      {error && (
        <span className="field-error" role="alert">
          {error.message}
        </span>
      )}
    </>
  );
}

function save(blob: Blob, fileName: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  URL.revokeObjectURL(link.href);
}
